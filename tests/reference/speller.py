"""The Speller, one utterance and one token at a time, from the equations of its papers. Takes complex numbers too.

`params` is the module's own tree of parameters. Chan et al. 2015, equations 6 to 8; with the state after an LSTM layer
as the query: Bahdanau et al. 2015, appendix A.1.2, and Chorowski et al. 2015, equations 8 and 9.
"""

import numpy as np

from tests.reference.attention import additive_energy, location_features, softmax
from tests.reference.lstm import cell


def weigh(params, query_d, hidden_sd, before_s):
    """The weights of all positions; `before_s` are those of the previous step."""
    keys_sd = hidden_sd @ params["key"]["kernel"] + params["key"]["bias"]
    if "filters" in params:
        keys_sd = keys_sd + location_features(before_s, params["filters"]) @ params["location"]["kernel"]
    return softmax(additive_energy(query_d @ params["query"]["kernel"], keys_sd, params["energy"][:, 0]))


def spell(params, hidden_sd, tokens_u):
    """Logits and weights for each of the tokens and the end; `hidden_sd` holds the real positions only."""
    depth = sum(name.startswith("kernels_") for name in params)
    width = params["kernels_0"]["kernel"].shape[1] // 4
    states = [(np.zeros(width), np.zeros(width)) for _ in range(depth)]
    context_e, weights_s = np.zeros(hidden_sd.shape[1]), np.zeros(len(hidden_sd))
    logits, weights = [], []
    for token in [0, *tokens_u]:
        embedded = params["embed"]["embedding"][token]
        gates = embedded @ params["token_gates"]["kernel"] + params["token_gates"]["bias"]
        gates = gates + np.concatenate([context_e, states[0][0]]) @ params["kernels_0"]["kernel"]
        states[0] = cell(gates, states[0][1])
        weights_s = weigh(params["attention"], states[0][0], hidden_sd, weights_s)
        context_e = sum((weight * h for weight, h in zip(weights_s, hidden_sd, strict=True)), 0 * context_e)
        for k in range(1, depth):
            x = np.concatenate([states[k - 1][0], context_e, states[k][0]])
            states[k] = cell(x @ params[f"kernels_{k}"]["kernel"] + params[f"bias_{k}"], states[k][1])
        features = np.concatenate([states[-1][0], context_e])
        logits.append(features @ params["readout"]["kernel"] + params["readout"]["bias"])
        weights.append(weights_s)
    return np.array(logits), np.array(weights)
