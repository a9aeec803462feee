"""The attentions, which have one interface (interface.py)."""
