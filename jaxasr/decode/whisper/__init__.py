"""Scorers of Whisper's decoding: the rules of timestamp tokens, and sampling at a temperature."""
