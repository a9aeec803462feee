"""The batch plan: a pure function of lengths, seed and epoch, equal on every host."""
