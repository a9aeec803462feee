"""The metadata that is stored with every checkpoint and compared when it is restored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxasr import tree

IMPORTED = "imported "  # begins `Metadata.data` of an imported checkpoint; a hash of its files follows


@dataclass(frozen=True)
class Metadata:
    """The provenance of a state: what a reader has to share with the writer, and the versions it was made with."""

    experiment: str  # the result of `tree.render`
    fingerprint: str
    tokenizer: str  # digest
    data: str  # hash of the prepared data
    versions: Mapping[str, str]  # of packages; shown, never compared
    defaults: tuple[str, ...] = ()  # the result of `tree.defaults`: fields that an older experiment may lack
    longest_s: float = 0.0  # longest audio of one example; 0: no audio, or unknown
    train_hours: float | None = None  # audio that the run was trained on, no example counted twice; None: unknown
    usual_s: tuple[float, float] = (0.0, 0.0)  # a low and a high quantile of the audio of an example; zeros: unknown

    @property
    def is_imported(self) -> bool:
        """A flag: True if the parameters are those of another system, without a state of training (`jaxasr import`)."""
        return self.data.startswith(IMPORTED)

    def differences(self, here: "Metadata", may_differ: Sequence[str] = ()) -> list[str]:
        """Returns the differences from the writer, self, to the reader, `here`, as lines of "name: there -> here".

        Args:
            here: the metadata of the reader.
            may_differ: paths of the experiment whose differences, and those below them, are left out.
        """
        differing = tree.difference(self.experiment, here.experiment, new_defaults=here.defaults)
        lines = [line for line in differing if not tree.is_below(line, may_differ)]
        for name, title in (("tokenizer", "vocabulary (digest of the tokenizer)"), ("data", "prepared data (hash)")):
            if getattr(self, name) != getattr(here, name):
                lines.append(f"{title}: {getattr(self, name)} -> {getattr(here, name)}")
        return lines

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> "Metadata":
        """Returns the metadata of a checkpoint; JSON has turned its tuples into lists."""
        fields = about["metadata"]
        pairs = {name: tuple(fields[name]) for name in ("defaults", "usual_s") if name in fields}
        return cls(**{**fields, **pairs})
