"""Loggers of a training beside history.csv: TensorBoard, and Weights & Biases where it is asked for."""
