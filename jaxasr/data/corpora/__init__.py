"""The sources of corpora, one module for each. One TFDS builder (jaxasr/data/prepared) prepares all of them."""
