"""Losses and metrics that training compiles a network with."""
