"""The gated recurrent unit, one example and one step at a time, from its formulas. Takes complex numbers too."""

import numpy as np

from tests.reference.lstm import sigmoid


def cell(gates_m, hidden_m, h_d):
    """The state after a step, from the projected input and the recurrent part (reset, update, candidate)."""
    width = len(h_d)
    x_r, x_z, x_n = (gates_m[k * width : (k + 1) * width] for k in range(3))
    h_r, h_z, h_n = (hidden_m[k * width : (k + 1) * width] for k in range(3))
    z = sigmoid(x_z + h_z)
    return (1 - z) * np.tanh(x_n + sigmoid(x_r + h_r) * h_n) + z * h_d


def gru(gates_tm, recurrent_dm, bias_d, *, reverse=False, scale_d=1.0):
    """The hidden state of every step of one utterance; `gates_tm` holds its real frames and nothing else."""
    frames, width = len(gates_tm), len(recurrent_dm)
    dtype = np.result_type(gates_tm, recurrent_dm, bias_d)
    h_d = np.zeros(width, dtype)
    bias_m = np.concatenate([np.zeros(2 * width, dtype), bias_d])
    hidden_td = np.zeros((frames, width), dtype)
    for t in reversed(range(frames)) if reverse else range(frames):
        h_d = cell(gates_tm[t], (h_d * scale_d) @ recurrent_dm + bias_m, h_d)
        hidden_td[t] = h_d
    return hidden_td
