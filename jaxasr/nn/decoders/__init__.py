"""Decoders: from an encoded utterance to a distribution over the next token, whole sequences or step by step."""
