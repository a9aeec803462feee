"""The replacement of a prepared corpus by a new one. A kill at any moment leaves one whole copy that can be found again.

HOME/1.0.0           the corpus
HOME/.before         the earlier corpus, while the new one takes its place
HOME/NAME.jsonl      the lists about the corpus: rejects, suspects
HOME/NAME-new.jsonl  the lists of a preparation, while HOME has an earlier corpus with lists of its own
"""

import shutil
from pathlib import Path

from jaxasr.data.prepared import dataset_info


def list_paths(home: Path, *, replaces: bool) -> dict[str, Path]:
    """Returns the paths of the lists of a preparation by name.

    Args:
      replaces: True if there is an earlier corpus, whose lists stay until the new corpus is complete.
    """
    return {name: home / (f"{name}-new.jsonl" if replaces else f"{name}.jsonl") for name in dataset_info.LISTS}


def publish(complete: Path, folder: Path) -> None:
    """Moves a complete corpus to `folder` and its lists to theirs, then removes the corpus that was there before."""
    before = dataset_info.earlier_copy(folder)
    if not folder.exists():
        complete.rename(folder)
        return
    for path in list_paths(folder.parent, replaces=True).values():
        path.touch()  # an empty list replaces the earlier one
    folder.rename(before)
    complete.rename(folder)
    _finish(folder)


def recover(folder: Path) -> None:
    """Finishes a replacement that was killed, or takes it back if the new corpus was not in its place yet."""
    before = dataset_info.earlier_copy(folder)
    if not before.exists():
        return
    if folder.exists():
        _finish(folder)
        return
    for path in list_paths(folder.parent, replaces=True).values():
        path.unlink(missing_ok=True)
    before.rename(folder)


def _finish(folder: Path) -> None:
    """Makes the new lists the current ones and removes the earlier corpus. It may be repeated after a kill."""
    home = folder.parent
    current = list_paths(home, replaces=False)
    for name, path in list_paths(home, replaces=True).items():
        if path.is_file():
            path.replace(current[name])
    for path in current.values():
        if path.is_file() and not path.stat().st_size:
            path.unlink()
    shutil.rmtree(dataset_info.earlier_copy(folder))
