"""Helpers that run an alignment function alone, step by step over given energies."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.nn import Memory
from jaxasr.nn.attention.interface import Randomness

QUERY = 3  # its width


def memory_of(examples, positions, *, step=None):
    """Returns a memory of real positions only, for this step of training or, without `step`, for decoding."""
    drawing = None if step is None else Randomness(jnp.ones((examples, 2), jnp.uint32), jnp.asarray(step))
    return Memory((), jnp.zeros((examples, positions, 1)), jnp.ones((examples, positions), bool), drawing)


def attend_sequence(focus, energies_ubs, queries_ubd=None, *, step=None, change=lambda variables: variables):
    """Returns the weights [u, b, s] for all energies, the states after the steps, and the parameters."""
    u, b, s = energies_ubs.shape
    queries_ubd = np.zeros((u, b, QUERY)) if queries_ubd is None else queries_ubd
    given = (jnp.asarray(energies_ubs, jnp.float32), jnp.asarray(queries_ubd, jnp.float32))

    def run(focus, energies_ubs, queries_ubd):
        memory = memory_of(b, s, step=step)
        outputs = []
        memory = replace(memory, focus=focus.prepare(memory.values_bse))
        state = focus.initial_state(memory)
        for energy_bs, query_bd in zip(energies_ubs, queries_ubd, strict=True):
            outputs.append(focus(energy_bs, query_bd, memory, state))
            state = outputs[-1].state
        return jnp.stack([output.weights_bhs[:, 0] for output in outputs]), [output.state for output in outputs]

    variables = change(jax.jit(lambda key: focus.init(key, *given, method=run))(jax.random.key(0)))
    weights_ubs, states = jax.jit(lambda variables: focus.apply(variables, *given, method=run))(variables)
    return np.asarray(weights_ubs, float), states, jax.tree.map(lambda leaf: np.asarray(leaf, float), variables)
