"""Encoders, from feature frames to hidden states at a lower rate, with their lengths."""
