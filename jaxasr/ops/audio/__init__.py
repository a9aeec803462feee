"""Waves to features, and their augmentation."""
