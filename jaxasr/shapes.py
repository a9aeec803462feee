"""The array types of the project by the letters of their axes. A letter has the same meaning everywhere.

b examples · n waveform samples · t feature frames · f mel bins · s encoder positions · u target tokens · v vocabulary
d model width · m feed-forward width · h heads · e head width · q, k query and key positions · c channels · w beam width
g devices (the leading axis under pmap)

A mask is called `valid`: boolean, True = real.
"""

from typing import TYPE_CHECKING, Any

import jax
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

Wave = Float[Array, "b n"]  # amplitude, full scale = 1
Frames = Float[Array, "b t f"]  # log-mel energies, natural logarithm
Hidden = Float[Array, "b s d"]
Valid = Bool[Array, "b t"]
Lengths = Int[Array, " b"]
Ids = UInt32[Array, " b"]
Tokens = Int[Array, "b u"]
Logits = Float[Array, "b u v"]
PRNGKey = Key[Array, ""] | jax.Array  # one key, typed or raw

if TYPE_CHECKING:
    Size = int  # of an axis
else:
    Size = Any  # `jax.export` traces with symbolic sizes, which are no integers
