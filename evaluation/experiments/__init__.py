"""Experiments: several runs trained, scored and ranked; hyper-parameter sweeps."""
