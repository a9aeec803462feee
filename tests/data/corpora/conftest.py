"""Fixtures that read sources without preparing them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from jaxasr.data.corpora.source import RawExample, Reject, Source


@pytest.fixture
def downloads(tmp_path: Path) -> tfds.download.DownloadManager:
    """Returns TFDS's download manager, for sources that download nothing."""
    return tfds.download.DownloadManager(download_dir=tmp_path / "downloads")


@pytest.fixture
def read(downloads: tfds.download.DownloadManager) -> Callable[[Source], dict[str, list[RawExample | Reject]]]:
    """Returns `read(source)`, which returns all raw examples and rejects by split."""
    return lambda source: {name: list(split.examples) for name, split in source.splits(downloads).items()}
