"""The batch plan with Python's own integers and lists, one example at a time."""

MASK = (1 << 64) - 1
COPIES, SPEED, ORDER, BATCHES = range(4)


def finish(bits: int) -> int:
    """The finaliser of SplitMix64."""
    bits = (bits + 0x9E3779B97F4A7C15) & MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def mix(key: int, *words: int) -> int:
    """64 bits for a key and words."""
    seed = 0
    for word in words:
        seed = finish(seed ^ word)
    return finish((key * 0xD1342543DE82EF95 + seed) & MASK)


def bucket(shapes, samples: int, tokens: int) -> int | None:
    """The first shape that holds an utterance."""
    for place, shape in enumerate(shapes):
        if samples <= shape.samples and tokens <= shape.tokens:
            return place
    return None


def epoch(samples, tokens, keys, weights, shapes, seed: int, number: int):
    """The batches of an epoch: (place of the shape, [(example, speed), ...]) each, in order."""
    drawn = []
    for example, (lengths, count, key, weight) in enumerate(zip(samples, tokens, keys, weights, strict=True)):
        fitting = [speed for speed, length in enumerate(lengths) if bucket(shapes, length, count) is not None]
        if not fitting:
            continue
        phase = (mix(key, seed, COPIES) >> 40) / (1 << 24)
        for nth in range(int(weight * (number + 1) + phase) - int(weight * number + phase)):
            name = key | nth << 32
            speed = fitting[(mix(name, seed, number, SPEED) >> 32) * len(fitting) >> 32]
            drawn.append((mix(name, seed, number, ORDER), example, speed, bucket(shapes, lengths[speed], count)))
    batches, carried = [], []
    for place, shape in enumerate(shapes):
        here = sorted(entry for entry in drawn if entry[3] == place)
        if not here:
            continue
        carried += here
        while len(carried) >= shape.examples:
            batches.append((place, carried[: shape.examples]))
            carried = carried[shape.examples :]
    if carried:
        batches.append((max(entry[3] for entry in carried), carried))
    order = sorted(range(len(batches)), key=lambda batch: mix(batch, seed, number, BATCHES))
    return [(batches[i][0], [(example, speed) for _, example, speed, _ in batches[i][1]]) for i in order]
