"""Decoders, which compute a distribution over the next token of an encoded utterance, teacher-forced or step by step."""
