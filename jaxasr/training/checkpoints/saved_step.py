"""The folder of one checkpoint: its state, its metadata and its evaluation, read with a comparison of all digests."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxasr.scale.hosts import gather_from_all
from jaxasr.training.checkpoints import flat_tree
from jaxasr.training.checkpoints.arrays import read_arrays
from jaxasr.training.checkpoints.digests import digests
from jaxasr.training.checkpoints.documents import DamagedCheckpointError, read_document, write_document
from jaxasr.training.checkpoints.flat_tree import Leaf
from jaxasr.training.checkpoints.metadata import Metadata

STATE = "state"
METADATA = "metadata"
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class About:
    """The description of a checkpoint."""

    metadata: Metadata
    leaves: Mapping[str, list[Any]]  # path -> [shape, dtype]
    digests: Mapping[str, str] | None  # path -> digest; None: an older version saved it, without digests

    def document(self) -> dict[str, Any]:
        """Returns the description as JSON can hold it."""
        return {METADATA: asdict(self.metadata), "leaves": self.leaves, "digests": self.digests}


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a state, recorded in its checkpoint after the state was saved."""

    scores: Mapping[str, float]  # lower is better
    is_ranked: bool  # True: the checkpoint can be the best one
    attention: Mapping[str, float] = field(default_factory=dict)  # attention metrics, for the curves
    line: str = ""  # a summary for the terminal

    def rank(self, by: str) -> float | None:
        """Returns the score that ranks the checkpoint; None if it is not finite, or the checkpoint is not ranked.

        Raises:
            ValueError: the evaluation has no score of this name.
        """
        if not self.is_ranked:
            return None
        if by not in self.scores:
            raise ValueError(
                f"the checkpoints were saved with the scores {', '.join(self.scores)}, and {by} is to rank them; give the "
                "experiment the selection_metric that the run was trained with, or a step as the checkpoint"
            )
        return self.scores[by] if math.isfinite(self.scores[by]) else None


@dataclass(frozen=True)
class SavedStep:
    """The folder of a checkpoint. A method raises DamagedCheckpointError if a file is not as it was written."""

    folder: Path

    def about(self) -> About:
        """Returns the description of the checkpoint."""
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            raise DamagedCheckpointError(f"{self.folder} is empty")
        document = read_document(self.folder / METADATA / METADATA, undigested=(METADATA, "leaves"))
        return About(Metadata.from_json(document), document["leaves"], document.get("digests"))

    def evaluation(self) -> Evaluation | None:
        """Returns the evaluation that was recorded; None if there is none."""
        path = self.folder / EVALUATION
        return Evaluation(**read_document(path)) if path.exists() else self._undigested_evaluation()

    def write_evaluation(self, evaluation: Evaluation) -> None:
        """Records the evaluation of the state."""
        write_document(self.folder / EVALUATION, asdict(evaluation))

    def read(self, wanted: Mapping[str, Leaf], about: About, *, whole: bool) -> dict[str, Leaf]:
        """Returns leaves of the state whose digests are those that were saved. Every process of a job calls it.

        Args:
            wanted: targets of the leaves by path; each is in the checkpoint with this shape and dtype.
            about: the description of this checkpoint.
            whole: True: the checkpoint has no other leaves.
        """
        targets = flat_tree.nonempty({path: flat_tree.abstract_like(leaf) for path, leaf in wanted.items()})
        flat: dict[str, Leaf] = {}
        problem = ""
        try:
            flat = read_arrays(self.folder / STATE, targets, whole=whole)
        except Exception as error:  # whatever the library raises when it reads damaged bytes
            problem = f"{self._unreadable(targets)} can't be read: {error}"
        self._raise_in_all(problem)
        if about.digests is not None:
            found = digests(flat, lambda text: gather_from_all("digests", text))
            wrong = sorted(path for path, digest in found.items() if about.digests.get(path) != digest)
            named = f"{flat_tree.listed(wrong)} holds other values than were saved: the digest differs"
            self._raise_in_all(named if wrong else "")
        return flat

    def _raise_in_all(self, problem: str) -> None:
        """Raises the problem of any process in all of them, so that they agree on the checkpoint that they restore."""
        problems = [text for text in gather_from_all("checkpoint", problem) if text]
        if problems:
            raise DamagedCheckpointError(f"{self.folder}: {problems[0]}")

    def _unreadable(self, targets: Mapping[str, Leaf]) -> str:
        """Returns the names of the leaves that cannot be read alone, or the folder if that is so of none or all."""
        host = {path: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) for path, leaf in targets.items()}
        bad = []
        for path, leaf in host.items():
            try:
                read_arrays(self.folder / STATE, {path: leaf}, whole=False)
            except Exception:  # the error of all leaves together is reported
                bad.append(path)
        return flat_tree.listed(bad) if 0 < len(bad) < len(host) else f"the folder {STATE}"

    def _undigested_evaluation(self) -> Evaluation | None:
        """Returns the scores that an older version saved together with the state."""
        path = self.folder / "metrics" / "metrics"
        if not path.exists():
            return None
        try:
            return Evaluation(
                {name: float(value) for name, value in json.loads(path.read_bytes()).items()}, is_ranked=True
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedCheckpointError(f"{path} is damaged: it holds no scores ({error})") from error
