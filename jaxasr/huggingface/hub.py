"""Checkpoints of the Hugging Face Hub, hf://OWNER/NAME or hf://OWNER/NAME@REVISION, fetched into the Hub's own cache."""

import importlib
import re
from pathlib import Path

from jaxasr.files import check_local

SCHEME = "hf://"
_FILES = ("*.safetensors", "model.safetensors.index.json", "*config.json", "tokenizer.json")  # no pickle is fetched
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def local_folder(source: str) -> Path:
    """Returns the folder of a checkpoint, after fetching one of the Hub.

    Raises:
        FileNotFoundError: there is no such folder.
        ModuleNotFoundError: huggingface-hub is not installed.
        OSError: the Hub has no such checkpoint or cannot be reached.
        ValueError: the address is of another form or of another store.
    """
    if not source.startswith(SCHEME):
        folder = Path(source)
        check_local(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}; give that of a checkpoint, or {SCHEME}OWNER/NAME")
        return folder
    match = _NAME.fullmatch(source.removeprefix(SCHEME))
    if match is None:
        raise ValueError(f"{source} is no {SCHEME}OWNER/NAME[@REVISION], such as {SCHEME}openai/whisper-tiny.en")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{source} is fetched by the package huggingface-hub, which is not installed ({error}): pip install "
            "'jaxasr[hub]', or give the folder of a checkpoint"
        ) from error
    try:
        return Path(hub.snapshot_download(match[1], revision=match[2], allow_patterns=list(_FILES)))
    except Exception as error:  # of many types, of which only some are OSError
        raise OSError(f"{source} could not be fetched: {error}") from error
