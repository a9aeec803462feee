"""Language models: from the tokens so far to a distribution over the next one, whole texts or step by step."""
