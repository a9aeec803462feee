"""The base of modules that stand in experiments."""

import flax.linen as nn

from jaxasr.tree import check_numbers


class Module(nn.Module):
    """A Flax module whose numbers are checked when it is built (`tree.check_numbers`)."""

    def __post_init__(self):
        check_numbers(self)
        super().__post_init__()
