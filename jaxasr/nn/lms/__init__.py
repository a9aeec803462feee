"""Language models, which compute a distribution over the next token, for whole texts or step by step."""
