"""Modified Kneser-Ney, interpolated, word for word from the formulas: Chen and Goodman 1998, section 3."""

from collections import Counter

BEGIN, STOP = "<s>", "</s>"


class KneserNey:
    """p(w | h) by recursion over dictionaries of n-grams, as tuples of words."""

    def __init__(self, sentences, order, vocabulary, *, prune=(), fallback=(0.5, 1.0, 1.5)):
        """`vocabulary`: all words that can follow, the end and <unk> included."""
        self.vocabulary, self.fallback = vocabulary, fallback
        raw = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            padded = (BEGIN, *sentence, STOP)
            for n in range(1, order + 1):
                for i in range(len(padded) - n + 1):
                    raw[n][padded[i : i + n]] += 1
        prune = [*prune, *[prune[-1] if prune else 0] * order]
        self.kept = [{gram for gram in counts if counts[gram] > prune[n - 1]} for n, counts in enumerate(raw) if n]
        self.adjusted = []
        for n in range(1, order + 1):
            counts = {gram: count for gram, count in raw[n].items() if n == order or gram[0] == BEGIN}
            if n < order:
                for gram in raw[n]:
                    if gram[0] != BEGIN:
                        counts[gram] = len({longer[0] for longer in raw[n + 1] if longer[1:] == gram})
            counts.pop((BEGIN,), None)
            self.adjusted.append(counts)
        self.discounts = [self._discounts_of(list(counts.values())) for counts in self.adjusted]

    def _discounts_of(self, counts):
        t = Counter(counts)
        if not (t[1] and t[2] and t[3]):
            return self.fallback
        y = t[1] / (t[1] + 2 * t[2])
        found = tuple(j - (j + 1) * y * t[j + 1] / t[j] for j in (1, 2, 3))
        return found if all(0 < each <= j for j, each in enumerate(found, start=1)) else self.fallback

    def prob(self, history, word):
        """p(word | history); a history of at most order - 1 words, begin included."""
        gram = (*history, word)
        lower = self.prob(history[1:], word) if history else 1.0 / len(self.vocabulary)
        counts, kept, discounts = (each[len(history)] for each in (self.adjusted, self.kept, self.discounts))
        after = {each: count for each, count in counts.items() if each[:-1] == history}
        total = sum(after.values())
        if total == 0:
            return lower

        def discount(each):
            return discounts[min(after[each], 3) - 1] if each in kept else after[each]

        share = after[gram] - discount(gram) if gram in after else 0.0
        return share / total + sum(map(discount, after)) / total * lower
