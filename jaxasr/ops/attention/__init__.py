"""Attention as functions: energies, soft and monotonic alignment, positions."""
