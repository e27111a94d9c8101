"""Synthetic patients: gliomas and metastases drawn from random numbers, for demonstrations, tests and benchmarks."""
