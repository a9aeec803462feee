"""Language models for one text, token by token. Parameters as Flax names them; logits after END and each of the tokens."""

import numpy as np

from tests.reference.lstm import cell
from tests.reference.positions import sinusoid
from tests.reference.self_attentive import dense, feed, norm, relu, self_attention


def lstm_lm(params, tokens):
    """Layers of LSTM; the readout's weights are the embeddings where it has none of its own."""
    table_vd = params["embed"]["embedding"]
    layers = [params[name] for name in sorted(params) if name.startswith("gates_")]
    states = [(np.zeros(len(layer["recurrent"])),) * 2 for layer in layers]
    rows = []
    for token in (0, *tokens):
        x_d = table_vd[token]
        for k, layer in enumerate(layers):
            h_d, c_d = states[k]
            states[k] = cell(dense(layer["input"], x_d) + h_d @ layer["recurrent"], c_d)
            x_d = states[k][0]
        rows.append(read_out(params, x_d))
    return np.stack(rows)


def transformer_lm(params, tokens, *, heads):
    """Layers of causal self-attention with sinusoids for positions."""
    table_vd, inputs = params["embed"]["embedding"], [0, *tokens]
    width = table_vd.shape[1]
    x_kd = np.stack([table_vd[token] * np.sqrt(width) + sinusoid(at, width) for at, token in enumerate(inputs)])
    causal_qk = np.tril(np.ones((len(inputs), len(inputs)), bool))
    for layer in (params[name] for name in sorted(params) if name.startswith("blocks_")):
        x_kd = x_kd + self_attention(layer["tokens"], x_kd, causal_qk, heads=heads, positions="none")
        x_kd = x_kd + feed(layer["feed"], x_kd, relu)
    return read_out(params, norm(params["norm"], x_kd))


def read_out(params, x):
    kernel_dv = params["readout"].get("kernel", params["embed"]["embedding"].T)
    return x @ kernel_dv + params["readout"]["bias"]
