"""The base of modules that stand in experiments, and the check of their choices."""

from typing import Any, get_args

import flax.linen as nn

from jaxasr.tree import check_numbers


class Module(nn.Module):
    """A Flax module whose numbers are checked when it is built (`tree.check_numbers`)."""

    def __post_init__(self):
        check_numbers(self)
        super().__post_init__()


def check_choices(module: object, **choices: Any) -> None:
    """Checks that every named field has one of the values of its Literal.

    Raises:
        ValueError: a field has another value.
    """
    for name, allowed in choices.items():
        value = getattr(module, name)
        if value not in get_args(allowed):
            one_of = ", ".join(map(repr, get_args(allowed)))
            raise ValueError(f"{type(module).__name__}.{name} is {value!r}; it must be one of {one_of}")
