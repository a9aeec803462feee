"""Where corpora come from: one source a file, one TFDS builder for all."""
