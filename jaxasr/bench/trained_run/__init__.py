"""Benchmarks of a trained run on one of its evals: sounds without speech, and streaming."""
