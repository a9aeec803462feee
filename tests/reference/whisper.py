"""Whisper by its formulas in NumPy, from the tensors of a checkpoint: features, encoder and teacher-forced logits.

Source: Radford et al. 2022, 2212.04356, section 2.2; Vaswani et al. 2017 with pre-normalisation.
"""

import math

import numpy as np

EPSILON = 1e-5


def features(wave_n, *, bins, seconds, rate_hz=16_000, window=400, hop=160):
    """Returns the log-mel frames of one utterance that is padded with silence to `seconds`."""
    n = round(seconds * rate_hz)
    padded = np.pad(np.pad(wave_n, (0, n - len(wave_n))), window // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = np.stack([padded[t * hop : t * hop + window] * hann for t in range(n // hop)])
    turns = np.exp(-2j * np.pi * np.outer(np.arange(window), np.arange(window // 2 + 1)) / window)
    power_tc = np.abs(frames @ turns) ** 2
    log_tf = np.log10(np.maximum(power_tc @ slaney_filters(bins, rate_hz, window), 1e-10))
    return (np.maximum(log_tf, log_tf.max() - 8) + 4) / 4


def slaney_filters(bins, rate_hz, window):
    """Returns triangles of area 1, equally wide on Slaney's scale: linear up to 1 kHz, then 27 steps for a factor of 6.4."""

    def hz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)

    top = 15 + 27 * math.log(rate_hz / 2 / 1000) / math.log(6.4)
    corners = [hz(top * i / (bins + 1)) for i in range(bins + 2)]
    filters = np.zeros((window // 2 + 1, bins))
    for f, (left, peak, right) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        for c in range(window // 2 + 1):
            here = c * rate_hz / window
            side = (here - left) / (peak - left) if here <= peak else (right - here) / (right - peak)
            filters[c, f] = max(0.0, side) * 2 / (right - left)
    return filters


def encode(tensors, frames_tf, *, layers, heads):
    """Returns the output of the encoder for one utterance."""
    p = Part(tensors, "model.encoder.")
    x = gelu(p.convolution("conv1", frames_tf, 1))
    x = gelu(p.convolution("conv2", x, 2))
    x = x + tensors["model.encoder.embed_positions.weight"][: len(x)]
    for layer in range(layers):
        part = p.at(f"layers.{layer}.")
        normed = part.norm("self_attn_layer_norm", x)
        x = x + part.attention("self_attn", normed, normed, heads)
        x = x + part.feed(x)
    return p.norm("layer_norm", x)


def logits(tensors, hidden_sd, ids, *, layers, heads):
    """Returns the logits after each of the ids, prompt included."""
    p = Part(tensors, "model.decoder.")
    embeddings = tensors["model.decoder.embed_tokens.weight"]
    x = embeddings[ids] + tensors["model.decoder.embed_positions.weight"][: len(ids)]
    causal = np.tril(np.ones((len(ids), len(ids)), bool))
    for layer in range(layers):
        part = p.at(f"layers.{layer}.")
        normed = part.norm("self_attn_layer_norm", x)
        x = x + part.attention("self_attn", normed, normed, heads, causal)
        x = x + part.attention("encoder_attn", part.norm("encoder_attn_layer_norm", x), hidden_sd, heads)
        x = x + part.feed(x)
    return p.norm("layer_norm", x) @ embeddings.T


class Part:
    """The tensors below a prefix, as functions."""

    def __init__(self, tensors, prefix):
        self.tensors, self.prefix = tensors, prefix

    def at(self, name):
        return Part(self.tensors, self.prefix + name)

    def linear(self, name, x):
        bias = self.tensors.get(f"{self.prefix}{name}.bias", 0.0)
        return x @ self.tensors[f"{self.prefix}{name}.weight"].T + bias

    def norm(self, name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        return scaled * self.tensors[f"{self.prefix}{name}.weight"] + self.tensors[f"{self.prefix}{name}.bias"]

    def convolution(self, name, x, stride):
        weight = self.tensors[f"{self.prefix}{name}.weight"]  # out, in, 3
        padded = np.pad(x, ((1, 1), (0, 0)))
        rows = [np.einsum("kc,ock->o", padded[t : t + 3], weight) for t in range(0, len(x), stride)]
        return np.stack(rows) + self.tensors[f"{self.prefix}{name}.bias"]

    def attention(self, name, queries, keys, heads, visible=True):
        part = self.at(f"{name}.")
        width = queries.shape[-1] // heads
        q, k, v = part.linear("q_proj", queries), part.linear("k_proj", keys), part.linear("v_proj", keys)
        read = []
        for head in range(heads):
            columns = slice(head * width, (head + 1) * width)
            energies = np.where(visible, q[:, columns] @ k[:, columns].T / math.sqrt(width), -np.inf)
            weights = np.exp(energies - energies.max(axis=-1, keepdims=True))
            read.append(weights / weights.sum(axis=-1, keepdims=True) @ v[:, columns])
        return part.linear("out_proj", np.concatenate(read, axis=-1))

    def feed(self, x):
        return self.linear("fc2", gelu(self.linear("fc1", self.norm("final_layer_norm", x))))


def gelu(x):
    """Returns x times the normal distribution function of x."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def allowed_tokens(prefix, log_probs_v, *, zero, times, first_most, never=(), never_first=()):
    """Returns the tokens that may follow a prefix under the rules of timestamps, rule by rule (section 4.5)."""
    end = zero + times
    allowed = set(range(len(log_probs_v))) - set(never) - (set() if prefix else set(never_first))
    written = [token for token in prefix if zero <= token < end]
    is_time = [zero <= token < end for token in prefix]
    if not prefix:
        allowed &= set(range(zero, zero + first_most + 1))
    elif is_time[-1] and (len(prefix) == 1 or is_time[-2]):
        allowed -= set(range(zero, end))
    elif is_time[-1]:
        allowed = {token for token in allowed if token == 0 or written[-1] <= token < end}
    else:
        allowed -= set(range(zero, (written[-1] if written else zero - 1) + 1))
    timed = sorted(allowed & set(range(zero, end)))
    others = sorted(allowed - set(timed))
    if timed and math.log(sum(math.exp(log_probs_v[token]) for token in timed)) > max(
        (log_probs_v[token] for token in others), default=-math.inf
    ):
        return set(timed)
    return allowed
