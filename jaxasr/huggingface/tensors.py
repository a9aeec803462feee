"""The tensors of a checkpoint folder, by name, from its safetensors files. Pickles are never read: they can run code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # of weights in several files
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")


@dataclass(frozen=True)
class Tensors:
    """The tensors of a folder. They stay in their files until they are read, one by one."""

    files: Mapping[str, Path]  # of each tensor
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def open(cls, folder: Path) -> "Tensors":
        """Reads the names and shapes of a folder.

        Raises:
            FileNotFoundError: there are no safetensors files; files of other formats are named.
            ValueError: a file is damaged, or is not as the index says.
        """
        files: dict[str, Path] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for path in _weight_files(folder):
            try:
                with safe_open(path, framework="numpy") as content:
                    for name in content.keys():  # noqa: SIM118 - it is no dictionary
                        files[name] = path
                        shapes[name] = tuple(content.get_slice(name).get_shape())
            except SafetensorError as error:
                raise ValueError(f"{path} is no whole safetensors file: {error}; fetch it again") from error
        return cls(files, shapes)

    def read(self, name: str) -> Float32[np.ndarray, "..."]:
        """Returns a tensor in float32.

        Raises:
            ValueError: it has integers, or numbers that are not finite.
        """
        with safe_open(self.files[name], framework="flax") as content:  # NumPy alone has no bfloat16
            tensor = content.get_tensor(name)
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise ValueError(f"the tensor {name} in {self.files[name]} has the type {tensor.dtype}; floats are needed")
        array = np.asarray(tensor, np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"the tensor {name} in {self.files[name]} has numbers that are not finite")
        return array


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
            paths = sorted({folder / Path(name).name for name in names})
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{folder / INDEX} is damaged: {error!r}; fetch it again") from error
        if missing := [path.name for path in paths if not path.is_file()]:
            raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}, which {INDEX} names; fetch them as well")
        return paths
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    there = (
        f"{', '.join(pickles)} is there and is not read: a pickle can run code. Convert it where you trust it, with "
        f"`model.save_pretrained(DIR)` of transformers"
        if pickles
        else "is this the folder of a checkpoint?"
    )
    raise FileNotFoundError(f"{folder} has no {WEIGHTS} and no {INDEX}: {there}")
