"""Checkpoints: storage of a training state with digests of its leaves, its metadata and its evaluation."""
