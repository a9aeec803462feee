"""The back-off recursion of an n-gram model, over a dictionary of its n-grams."""


def as_dictionary(model):
    """{words of an n-gram: (log10 probability, log10 back-off)}."""
    found, texts = {}, [()]
    for grams in model.orders:
        texts = [
            (*texts[context], model.words[word]) for context, word in zip(grams.contexts, grams.words, strict=True)
        ]
        found |= dict(zip(texts, zip(grams.log10_probs, grams.log10_back_offs, strict=True), strict=True))
    return found


def log10_prob(grams, history, word, *, missing=-100.0):
    """log10 p(word | history), a tuple of all words before; `missing`: of a word that is no 1-gram."""
    if (*history, word) in grams:
        return grams[(*history, word)][0]
    if not history:
        return missing
    back_off = grams[history][1] if history in grams else 0.0
    return back_off + log10_prob(grams, history[1:], word, missing=missing)
