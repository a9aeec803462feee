"""Python files as modules: the files of experiments, tables and sharding rules that a user names on the command line."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def load_function(reference: str, default: str = "experiment") -> Callable[[], Any]:
    """Returns the function that "FILE.py:function" names; for "FILE.py" it is the one named `default`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has no such function.
    """
    file, _, name = reference.partition(":")
    path = Path(file)
    name = name or default
    module = load_module(path)
    function = getattr(module, name, None)
    if not callable(function):
        own = [k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        public = ", ".join(sorted(k for k in own if not k.startswith("_")))
        raise ValueError(f"{path} has no function {name!r}; it has {public or 'none'}")
    return function


def load_module(path: Path) -> ModuleType:
    """Executes a Python file anew and returns it as a module.

    The name of the module is made from the resolved path, so that two files of one stem do not replace each other:
    dataclasses and type hints look up the module of a class by its name.

    Raises:
        FileNotFoundError: no such file, or a folder.
        ValueError: it is no Python file.
    """
    if path.is_dir():
        files = ", ".join(sorted(file.name for file in path.glob("*.py")))
        raise FileNotFoundError(f"{path} is a folder, and a Python file is needed; it has {files or 'none'}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; the repository's experiments are under experiments/")
    spec = importlib.util.spec_from_file_location(module_name(path), path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; an experiment is FILE.py or FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def module_name(path: Path) -> str:
    """Returns the name under which a file is imported: its stem, and a digest of its resolved path."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return f"jaxasr_file_{path.stem}_{digest}"
