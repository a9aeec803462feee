"""Layers made of self-attention for one example, by loops over heads, queries and keys. Parameters as Flax names them."""

import functools

import numpy as np

from tests.reference.attention import softmax
from tests.reference.depthwise import depthwise
from tests.reference.positions import rotary, sinusoid


def norm(params, x_td):
    """Each position to mean 0 and variance 1, then gain and bias."""
    mean, variance = np.mean(x_td, -1, keepdims=True), np.var(x_td, -1, keepdims=True)
    return (x_td - mean) / np.sqrt(variance + 1e-6) * params["scale"] + params["bias"]


def dense(params, x_td):
    return x_td @ params["kernel"] + params.get("bias", 0.0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def swish(x):
    return x * sigmoid(x)


def feed(params, x_td, bend):
    return dense(params["narrow"], bend(dense(params["widen"], norm(params["norm"], x_td))))


def self_attention(params, x_td, visible_qk, *, heads, positions):
    """Vaswani et al. 2017, section 3.2; the four terms of Dai et al. 2019, section 3.3, in two products."""
    t, d = x_td.shape
    e = d // heads
    projected = dense(params["query_key_value"], norm(params["norm"], x_td))
    read_td = np.zeros_like(x_td)
    for head in range(heads):
        own = slice(head * e, (head + 1) * e)
        q_te, k_te, v_te = (projected[:, n * d :][:, own] for n in range(3))
        if positions == "rotary":
            q_te, k_te = (np.stack([rotary(x_e, at) for at, x_e in enumerate(x)]) for x in (q_te, k_te))
        for q in range(t):
            seen = [k for k in range(t) if visible_qk[q, k]]
            energies = []
            for k in seen:
                if positions == "relative":
                    distance_d = sinusoid(q - k, d) @ params["distance"]["kernel"]
                    energy = (q_te[q] + params["key_bias"][own]) @ k_te[k]
                    energy += (q_te[q] + params["distance_bias"][own]) @ distance_d[own]
                else:
                    energy = q_te[q] @ k_te[k]
                energies.append(energy / np.sqrt(e))
            for k, weight in zip(seen, softmax(np.array(energies)), strict=True):
                read_td[q, own] += weight * v_te[k]
    return dense(params["output"], read_td)


def transformer(params, x_td, visible_qk, *, heads, positions):
    """A block of the Transformer encoder."""
    x_td = x_td + self_attention(params["attention"], x_td, visible_qk, heads=heads, positions=positions)
    return x_td + feed(params["feed"], x_td, relu)


def conformer(
    params, x_td, visible_qk, *, heads, causal, positions="relative", convolution="after", ffn="halves", bend=swish
):
    """A block of the Conformer: Gulati et al. 2020, section 2.4, with layer normalisation after the convolution.

    Without the rest, its ablations: tables 3 to 5.
    """
    step = 0.5 if ffn == "halves" else 1.0
    if ffn != "one":
        x_td = x_td + step * feed(params["feed_before"], x_td, bend)
    attention = functools.partial(self_attention, params["attention"], visible_qk=visible_qk, heads=heads)
    if convolution == "beside":
        left, right = np.split(x_td, 2, axis=1)
        read_td = attention(left, positions=positions)
        x_td = x_td + np.concatenate([read_td, convolve(params["convolution"], right, bend, causal)], axis=1)
    else:
        if convolution == "before":
            x_td = x_td + convolve(params["convolution"], x_td, bend, causal)
        x_td = x_td + attention(x_td, positions=positions)
        if convolution == "after":
            x_td = x_td + convolve(params["convolution"], x_td, bend, causal)
    return norm(params["norm"], x_td + step * feed(params["feed_after"], x_td, bend))


def convolve(params, x_td, bend, causal):
    """The convolution of the Conformer: section 2.2. Fewer filters than channels: Wu et al. 2019, equation 5."""
    d, (taps, heads) = x_td.shape[1], params["filters"].shape
    gated = dense(params["gate"], norm(params["norm"], x_td))
    before = taps - 1 if causal else (taps - 1) // 2
    filters_kd = params["filters"]
    if heads < d:
        shares = [softmax(filters_kd[:, head]) for head in range(heads)]
        filters_kd = np.stack([shares[channel * heads // d] for channel in range(d)], axis=1)
    convolved_td = depthwise(gated[:, :d] * sigmoid(gated[:, d:]), filters_kd, before=before)
    return dense(params["mix"], bend(norm(params["after"], convolved_td)))


def decode(params, hidden_sd, tokens, *, heads, cross_heads):
    """Logits of the Transformer decoder after each of END and `tokens`, and the weights [u, layers * cross heads, s]."""
    width = params["embed"]["embedding"].shape[1]
    inputs = [0, *tokens]
    x_ud = np.stack([params["embed"]["embedding"][token] for token in inputs]) * np.sqrt(width)
    x_ud = x_ud + np.stack([sinusoid(at, width) for at in range(len(inputs))])
    causal_qk = np.tril(np.ones((len(inputs), len(inputs)), bool))
    rows = []
    for layer in (params[name] for name in sorted(params) if name.startswith("blocks_")):
        x_ud = x_ud + self_attention(layer["tokens"], x_ud, causal_qk, heads=heads, positions="none")
        context_ud, weights = dot(layer["attention"], norm(layer["norm"], x_ud), hidden_sd, heads=cross_heads)
        x_ud = x_ud + dense(layer["context"], context_ud)
        x_ud = x_ud + feed(layer["feed"], x_ud, relu)
        rows.append(weights)
    return dense(params["readout"], norm(params["norm"], x_ud)), np.concatenate(rows, axis=1)


def dot(params, query_ud, hidden_sd, *, heads, scaled=True):
    """What each query reads, and the weights [u, h, s]."""
    q_ud, k_sd, v_sd = (
        dense(params[name], x)
        for name, x in zip(("query", "key", "value"), (query_ud, hidden_sd, hidden_sd), strict=True)
    )
    e = q_ud.shape[1] // heads
    read_ud = np.zeros_like(q_ud)
    weights_uhs = np.zeros((len(q_ud), heads, len(hidden_sd)))
    for u, head in np.ndindex(len(q_ud), heads):
        own = slice(head * e, (head + 1) * e)
        energies = np.array([q_ud[u, own] @ k_d[own] for k_d in k_sd]) / (np.sqrt(e) if scaled else 1)
        weights_uhs[u, head] = softmax(energies)
        read_ud[u, own] = weights_uhs[u, head] @ v_sd[:, own]
    return read_ud, weights_uhs
