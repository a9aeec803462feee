"""The TFDS builder of every corpus. It checks the examples of a source and writes them in their order.

TFDS's own writer holds up to 1 GB of a split in memory and needs TensorFlow for more, so this builder writes examples
directly into their shards. TFDS does the rest: download, temporary folder, rename, metadata. The result is an ordinary TFDS
folder, which `tfds.builder_from_directory(folder).as_data_source("train")` reads.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.splits import SplitDict

from jaxasr.data.corpora.source import Reject, Source, SourceSplit
from jaxasr.data.prepared import dataset_info
from jaxasr.data.prepared.checks import Checks, GoodExample, check_examples
from jaxasr.data.prepared.suspects import ComparedRow, Suspect, Suspicion
from jaxasr.data.prepared.writer import SHARD_BYTES, SplitWriter
from jaxasr.data.signal_level import LevelSummary, UtteranceLevel
from jaxasr.report.progress import Progress

FEATURES = tfds.features.FeaturesDict(
    {
        "id": tfds.features.Text(),
        "audio": tfds.features.Scalar(np.object_, doc="A whole audio file, compressed as it came"),
        "text": tfds.features.Text(doc="The raw transcript"),
        "speaker": tfds.features.Text(),
        "samples": tfds.features.Scalar(np.int64, doc="Exact, of one channel, at rate_hz"),
        "rate_hz": tfds.features.Scalar(np.int32),
        "crc32": tfds.features.Scalar(np.int64, doc="Of the audio"),
    }
)


class SpeechBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder that prepares a source under `data_dir`.

    Args:
      recipe: the corpus and its options, stored in the dataset info.
      checks: the checks of every row.
      max_bad_share: largest share of bad rows. If it is exceeded, nothing is prepared.
      lists: the files that list bad rows, suspicious rows and markup, by the names of `dataset_info.LISTS`.
    """

    VERSION = tfds.core.Version(dataset_info.VERSION)

    def __init__(
        self,
        source: Source,
        *,
        recipe: str,
        data_dir: Path,
        checks: Checks,
        max_bad_share: float,
        lists: Mapping[str, Path],
        shard_bytes: int = SHARD_BYTES,
    ):
        self.name = source.name  # pyright: ignore[reportAttributeAccessIssue] - one builder serves all
        self._source = source
        self._recipe = recipe
        self._checks = checks
        self._max_bad_share = max_bad_share
        self._lists = lists
        self._suspicion = Suspicion()
        self._shard_bytes = shard_bytes
        self._levels: dict[str, list[UtteranceLevel]] = {}  # by split
        self._seen: set[int] = set()
        self._good = self._bad = 0
        self._first_bad = ""
        super().__init__(data_dir=data_dir, file_format="array_record")

    @property
    def url_infos(self) -> Mapping[str, UrlInfo]:  # pyright: ignore[reportIncompatibleVariableOverride] (a cached property there)
        """The sizes and checksums that downloads are checked against."""
        return self._source.url_infos

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, features=FEATURES, description=self._source.description)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:  # pyright: ignore
        splits = self._source.splits(dl_manager)
        return {name: self._generate_examples(name, split) for name, split in splits.items()}

    def _generate_examples(self, name: str, split: SourceSplit) -> Iterator[tuple[str, dict]]:  # pyright: ignore
        found = check_examples(split.examples, self._checks, seen=self._seen)
        with Progress(split.expected, f"{self.name} {name}", "utterances") as bar:
            for checked in found:
                if isinstance(checked, Reject):
                    self._bad += 1
                    self._first_bad = self._first_bad or f"{checked.where}: {checked.reason} ({checked.detail:.300})"
                    self._list("rejects", name, checked)
                    bar.advance(1, bad=self._bad)
                else:
                    self._good += 1
                    if checked.level is not None:
                        self._levels.setdefault(name, []).append(checked.level)
                    for suspect in self._suspicion.suspects(name, _suspicious_part(checked)):
                        self._list("suspects", name, suspect)
                    bar.advance(1)
                    yield checked.row.id, _example(checked)

    def _download_and_prepare(self, dl_manager: tfds.download.DownloadManager, download_config: object) -> None:  # pyright: ignore
        del download_config
        written = {name: self._write(name, examples) for name, examples in self._split_generators(dl_manager).items()}
        self._checks.markup.check(self._lists["markup"])
        self._check_rejects([name for name, (info, _) in written.items() if not info.examples])
        self.info.set_splits(SplitDict([tfds_info for _, tfds_info in written.values()]))
        dataset_info.write(
            Path(self.data_path),
            dataset_info.DatasetInfo(self._recipe, {name: info for name, (info, _) in written.items()}),
        )

    def _write(
        self, name: str, examples: Iterator[tuple[str, dict]]
    ) -> tuple[dataset_info.SplitInfo, tfds.core.SplitInfo]:
        folder = Path(self.data_path)
        template = self._get_filename_template(split_name=name)
        serializer = ExampleSerializer(FEATURES.get_serialized_info())  # pyright: ignore[reportArgumentType]

        def shard_path(number: int, shards: int) -> Path:
            return Path(template.sharded_filepath(shard_index=number, num_shards=shards))

        with SplitWriter(folder, name, shard_path, shard_bytes=self._shard_bytes) as writer:
            for _, example in examples:
                record = serializer.serialize_example(FEATURES.encode_example(example))
                writer.add(_row(example), record)
            info = dataclasses.replace(writer.finish(), levels=LevelSummary.of(self._levels.get(name, [])))
        shard_lengths = [shard.examples for shard in info.shards]
        return info, tfds.core.SplitInfo(name, shard_lengths, writer.record_bytes, template)

    def _log_download_bytes(self) -> None:
        """Logs nothing. The command reports the finished corpus."""

    def _log_download_done(self) -> None:
        """Logs nothing. The command reports the finished corpus."""

    def _list(self, name: str, split: str, row: Reject | Suspect) -> None:
        with self._lists[name].open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"split": split, **dataclasses.asdict(row)}, ensure_ascii=False) + "\n")

    def _check_rejects(self, empty: list[str]) -> None:
        rows = self._good + self._bad
        bad = f"{self._bad} of {rows} rows are bad ({self._bad / max(rows, 1):.1%})"
        nothing = f"nothing good is in {', '.join(empty)}"
        if self._bad > self._max_bad_share * rows:
            raise ValueError(
                f"corpus {self.name!r} is not prepared: {bad}{f', and {nothing}' if empty else ''}; at most "
                f"{self._max_bad_share:.1%} may be. They are listed in {self._lists['rejects']}: mend them, or allow more "
                f"with --max-bad-share. The first is {self._first_bad}"
            )
        if empty:
            listed = f"; {bad}, listed in {self._lists['rejects']}" if self._bad else ""
            raise ValueError(
                f"corpus {self.name!r} is not prepared: {nothing}, and a split needs one row at least{listed}"
            )


def _example(checked: GoodExample) -> dict:
    return {**dataclasses.asdict(checked.row), "audio": checked.audio}


def _suspicious_part(checked: GoodExample) -> ComparedRow:
    row = checked.row
    return ComparedRow(
        checked.where, row.id, checked.normalized, row.speaker, row.samples / row.rate_hz, checked.wave_hash
    )


def _row(example: dict) -> dataset_info.IndexRow:
    return dataset_info.IndexRow(**{key: value for key, value in example.items() if key != "audio"})
