"""Checkpoints of Hugging Face as runs of this package: Whisper in the layout of `transformers`, read and written."""

from jaxasr.huggingface.exporting import export_run as export_run
from jaxasr.huggingface.importing import ImportOptions as ImportOptions
from jaxasr.huggingface.importing import import_run as import_run
