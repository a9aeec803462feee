"""The Speller, one utterance and one token at a time, from the equations of its papers. Takes complex numbers too.

`params` is the module's own tree of parameters. Chan et al. 2015, equations 6 to 8; with the state after an LSTM layer
as the query: Bahdanau et al. 2015, appendix A.1.2, and Chorowski et al. 2015, equations 8 and 9.
"""

import numpy as np

from tests.reference.attention import additive_energy, location_features, softmax
from tests.reference.gru import cell as gru_cell
from tests.reference.lstm import cell


def weigh(params, query_d, hidden_sd, before_s):
    """The weights of all positions; `before_s` are those of the previous step."""
    keys_sd = hidden_sd @ params["key"]["kernel"] + params["key"]["bias"]
    if "filters" in params:
        keys_sd = keys_sd + location_features(before_s, params["filters"]) @ params["location"]["kernel"]
    return softmax(additive_energy(query_d @ params["query"]["kernel"], keys_sd, params["energy"][:, 0]))


def move(params, k, gates_m, x_d, state):
    """The state of layer k after a step: (h, c) of an LSTM, (h, None) of a GRU."""
    h_d, c_d = state
    kernels = params[f"kernels_{k}"]
    if "recurrent" not in kernels:
        return cell(gates_m + np.concatenate([x_d, h_d]) @ kernels["kernel"], c_d)
    bias_d = params[f"inner_bias_{k}"]
    hidden_m = h_d @ kernels["recurrent"] + np.concatenate([np.zeros(2 * len(bias_d)), bias_d])
    return gru_cell(gates_m + x_d @ kernels["kernel"], hidden_m, h_d), None


def spell(params, hidden_sd, tokens_u):
    """Logits and weights for each of the tokens and the end; `hidden_sd` holds the real positions only."""
    depth = sum(name.startswith("kernels_") for name in params)
    gates = 3 if "recurrent" in params["kernels_0"] else 4
    width = params["kernels_0"]["kernel"].shape[1] // gates
    states = [(np.zeros(width), np.zeros(width)) for _ in range(depth)]
    context_e, weights_s = np.zeros(hidden_sd.shape[1]), np.zeros(len(hidden_sd))
    logits, weights = [], []
    for token in [0, *tokens_u]:
        embedded = params["embed"]["embedding"][token]
        gates_m = embedded @ params["token_gates"]["kernel"] + params["token_gates"]["bias"]
        states[0] = move(params, 0, gates_m, context_e, states[0])
        weights_s = weigh(params["attention"], states[0][0], hidden_sd, weights_s)
        context_e = sum((weight * h for weight, h in zip(weights_s, hidden_sd, strict=True)), 0 * context_e)
        for k in range(1, depth):
            x_d = np.concatenate([states[k - 1][0], context_e])
            states[k] = move(params, k, params[f"bias_{k}"], x_d, states[k])
        features = np.concatenate([states[-1][0], context_e])
        if "pieces" in params:
            pieces = np.concatenate([features, embedded]) @ params["pieces"]["kernel"] + params["pieces"]["bias"]
            features = np.array([max(pair, key=np.real) for pair in pieces.reshape(-1, 2)])
        logits.append(features @ params["readout"]["kernel"] + params["readout"]["bias"])
        weights.append(weights_s)
    return np.array(logits), np.array(weights)
