"""Python files as modules: the files of experiments, tables and sharding rules that a user names on the command line.

An error in such a file is a user's mistake, whatever its type. It becomes a ValueError with the file and the line.
"""

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any


def load_function(reference: str, default: str = "experiment") -> Callable[[], Any]:
    """Returns the function that "FILE.py:function" names; for "FILE.py" it is the one named `default`.

    Errors inside the function, and inside a generator that it returns, name the file and the line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has no such function, or an error in it.
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

    @functools.wraps(function)
    def named(*arguments: Any) -> Any:
        with errors_in(path):
            returned = function(*arguments)
        return _named_items(path, returned) if inspect.isgenerator(returned) else returned

    return named


@contextlib.contextmanager
def errors_in(path: Path) -> Iterator[None]:
    """Adds the file, and the line of it that was executed, to every error in the block.

    Raises:
        ValueError: in place of any error, an exit included.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path}{_line_of(error, path)}: {_described(error)}") from error


def load_module(path: Path) -> ModuleType:
    """Executes a Python file anew and returns it as a module.

    The name of the module is made from the resolved path, so that two files of one stem do not replace each other:
    dataclasses and type hints look up the module of a class by its name.

    Raises:
        FileNotFoundError: no such file, or a folder.
        ValueError: it is no Python file, or an error in it.
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
    with errors_in(path):
        spec.loader.exec_module(module)
    return module


def module_name(path: Path) -> str:
    """Returns the name under which a file is imported: its stem, and a digest of its resolved path."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return f"jaxasr_file_{path.stem}_{digest}"


def _named_items(path: Path, items: Iterator[Any]) -> Iterator[Any]:
    """Yields the items of a generator. Errors in it name the file and the line."""
    with errors_in(path):
        yield from items


def _line_of(error: BaseException, path: Path) -> str:
    """Returns the innermost line of the file that was executed, as ", line 7"; nothing if there is none."""
    if isinstance(error, SyntaxError) and error.lineno and Path(error.filename or "") == path:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f", line {lines[-1]}" if lines else ""


def _described(error: BaseException) -> str:
    """Returns the message of an error, with its type unless the message is written for users."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, SyntaxError):
        text = error.msg
    if text and isinstance(error, ValueError | OSError | KeyError) and not isinstance(error, UnicodeError):
        return text if not isinstance(error, KeyError) else f"KeyError: {text}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
