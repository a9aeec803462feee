"""Encoders: frames to hidden states at a coarser rate, with the lengths that go with them."""
