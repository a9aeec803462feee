"""Sampling at a temperature, as a scorer that adds noise."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.ops.random import example_keys, gumbel

NAME = "sampling"


@dataclass(frozen=True)
class Sampling:
    """A scorer that adds Gumbel noise times the temperature, so that `Beam(1)` draws each token from softmax(score / T).

    The draw depends on the seed, the id of the example and the step, not on its row in the batch. The temperature is a number
    above 0, or an array without axes, so that one compiled program serves all temperatures.

    Source: Gumbel 1954 and Maddison et al. 2014 (1411.0030), section 2: arg max of log p / T + noise.
    """

    temperature: float | Float[Array, ""]
    seed: int = 0
    name: str = NAME

    def __post_init__(self) -> None:
        if isinstance(self.temperature, float | int) and not 0 < self.temperature < float("inf"):
            raise ValueError(f"Sampling has temperature {self.temperature}; a number above 0 is needed")

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""
        keys_b = example_keys(jax.random.key(self.seed), jnp.asarray(encoded.batch.ids_b))

        def score(memory: Any, steps_b: Any, output: DecoderOutput) -> tuple[Array, Any]:
            step_keys_b = jax.vmap(jax.random.fold_in)(memory, steps_b)
            vocab = output.log_probs_bv.shape[1]
            uniform_bv = jax.vmap(lambda key: jax.random.uniform(key, (vocab,)))(step_keys_b)
            return self.temperature * gumbel(uniform_bv), steps_b + 1

        return ScorerState(keys_b, jnp.zeros(encoded.limits_b.shape[0], jnp.int32), score)
