"""The paths of audio in manifests: relative ones, those of Windows and other machines, and the ids that are made of them."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jaxasr.files import check_local

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")


@dataclass(frozen=True)
class AudioPaths:
    """The rule that finds the audio of a row.

    Args:
      folder: the folder of relative paths.
      strip_prefix: the beginning of paths that is taken off, such as the folder of the corpus on another machine.
    """

    folder: Path
    strip_prefix: str = ""

    def resolve(self, audio: str) -> Path:
        """Returns the path of the audio. Backslashes separate folders, unless a file has them in its name.

        Raises:
          ValueError: it is the path of a drive of Windows, or the address of a store.
        """
        stripped = self._strip(audio)
        if _DRIVE.match(stripped):
            raise ValueError(
                f"{audio:.200} is a path of Windows with a drive: say what to take off with strip_prefix=..., so that the "
                "rest is relative to the manifest (or to audio_folder=...)"
            )
        check_local(Path(stripped))
        path = self.folder / stripped
        return path if "\\" not in stripped or os.path.lexists(path) else self.folder / stripped.replace("\\", "/")

    def _strip(self, audio: str) -> str:
        if self.strip_prefix:
            prefix = self.strip_prefix.replace("\\", "/").rstrip("/") + "/"
            slashes = audio.replace("\\", "/")
            if slashes.lower().startswith(prefix.lower()) if _DRIVE.match(audio) else slashes.startswith(prefix):
                return slashes[len(prefix) :]
        return audio.removeprefix("file://")


def base_folder(audios: Iterable[str], folders: Iterable[Path], strip_prefix: str = "") -> Path:
    """Returns the first of `folders` in which the first relative path is a file, else the first of them."""
    candidates = list(folders)
    for audio in audios:
        try:
            if not os.path.isabs(audio) and audio:
                return next(
                    (base for base in candidates if AudioPaths(base, strip_prefix).resolve(audio).is_file()),
                    candidates[0],
                )
        except (ValueError, OSError):
            continue
    return candidates[0]


class IdMaker:
    """A maker of ids from the paths of audio, the same on every machine: without suffix, relative to the folder of all.

    The `place` of a path is the folder that it is relative to, or what stands for it where rows hold their audio.
    """

    def __init__(self):
        self._root: str | None = None  # of absolute paths, "/" separated
        self._places: set[str] = set()  # of relative ones

    def add(self, audio: str, place: Path) -> None:
        """Adds the path of a row, before ids are made."""
        path = _posix(audio)
        if path.is_absolute():
            parent = str(path.parent)
            self._root = parent if self._root is None else os.path.commonpath([self._root, parent])
        else:
            self._places.add(os.path.abspath(place))

    def make(self, audio: str, place: Path, times: Iterable[str] = ()) -> str:
        """Returns the id of a row. Its times distinguish the segments of a recording."""
        path = _posix(audio)
        if path.is_absolute() and self._root is not None:
            path = path.relative_to(self._root)
        elif len(self._places) > 1 and not path.is_absolute():
            path = PurePosixPath(os.path.relpath(place, os.path.commonpath(self._places))) / path
        return "-".join([_SUFFIX.sub("", str(path)), *times])


def _posix(audio: str) -> PurePosixPath:
    slashes = audio.replace("\\", "/")
    return PurePosixPath(f"/{slashes}" if re.match(r"[A-Za-z]:/", slashes) else slashes)
