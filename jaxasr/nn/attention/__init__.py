"""The attention mechanisms behind one interface."""
