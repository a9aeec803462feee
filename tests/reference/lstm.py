"""The LSTM, one example and one step at a time, from its formulas. Takes complex numbers too."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(gates_m, c_d):
    """The state after a step: (h, c), from what goes into the gates (input, forget, cell, output)."""
    width = len(c_d)
    i, f, g, o = (gates_m[k * width : (k + 1) * width] for k in range(4))
    c_d = sigmoid(f) * c_d + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c_d), c_d


def lstm(gates_tm, recurrent_dm, *, reverse=False):
    """The hidden state of every step of one utterance; `gates_tm` holds its real frames and nothing else."""
    dtype = np.result_type(gates_tm, recurrent_dm)
    frames, width = len(gates_tm), len(recurrent_dm)
    h_d, c_d = np.zeros(width, dtype), np.zeros(width, dtype)
    hidden_td = np.zeros((frames, width), dtype)
    for t in reversed(range(frames)) if reverse else range(frames):
        h_d, c_d = cell(gates_tm[t] + h_d @ recurrent_dm, c_d)
        hidden_td[t] = h_d
    return hidden_td
