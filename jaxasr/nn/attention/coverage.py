"""Coverage attention: its energies depend on the weight that each position has had so far."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.nn.attention.interface import Memory
from jaxasr.nn.attention.scored import AdditiveAttention
from jaxasr.nn.layers import Dense


class CoverageKeys(NamedTuple):
    """The keys of the energy, and the factor of each position's accumulated weight."""

    keys_bsd: Float[Array, "b s m"]
    inverse_fertility_bs: Float[Array, "b s"]


class CoverageAttention(AdditiveAttention):
    """An attention with energy v . tanh(W query + V key + b + u c), where c is the sum of the position's previous weights.

    With fertility "learned", c is multiplied by sigmoid(v . hidden) / 2, so that a position of several tokens may be read
    longer (weight feedback with inverse fertility). Training and decode form are those of the focus.

    Source: Tu et al. 2016 (1601.04811), section 3.1; See et al. 2017 (1704.04368), equation 11; inverse fertility: Zeyer et
    al. 2018 (1805.03294), section 3.
    """

    fertility: Literal["one", "learned"] = "one"

    def setup(self):
        super().setup()
        self.coverage = Dense(self.width, use_bias=False)
        self.inverse_fertility = Dense(1, use_bias=False, result="float32")

    def keys(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        keys_bsd = self.key(hidden_bsd)
        if self.fertility == "one":
            return CoverageKeys(keys_bsd, jnp.ones(keys_bsd.shape[:2], jnp.float32))
        inverse_bs = 0.5 * jax.nn.sigmoid(self.inverse_fertility(hidden_bsd)[..., 0])
        return CoverageKeys(keys_bsd, inverse_bs)

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, prev_state: Any) -> Float[Array, "b s"]:
        keys_bsd = memory.keys.keys_bsd
        covered_bs = (prev_state * memory.keys.inverse_fertility_bs).astype(keys_bsd.dtype)
        return self._energy(query_bd, keys_bsd + self.coverage(covered_bs[..., None]))

    def location_state(
        self, memory: Memory, prev_state: Any, weights_bs: Float[Array, "b s"] | None
    ) -> Float[Array, "b s"]:
        return jnp.zeros(memory.valid_bs.shape, jnp.float32) if weights_bs is None else prev_state + weights_bs
