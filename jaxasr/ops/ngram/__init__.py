"""N-gram language models as arrays on the device."""
