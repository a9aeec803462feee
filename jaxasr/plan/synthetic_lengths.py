"""Synthetic lengths in place of a corpus that is not prepared on this machine. They suffice to choose batch shapes.

The distribution is roughly that of LibriSpeech: 70 % of the utterances have normal(14.2, 1.5) s, 30 % uniform(1.5, 12.5) s,
and the longest has 24.5 s. The splits have the shares of its parts. The speaking rate is normal(2.7, 0.35) words a second,
clipped to [1.2, 4.2]. The words are those of the first page of a novel, so that a tokenizer makes a realistic number of
tokens. Letters that are not in the vocabulary are replaced by one that is.
"""

import numpy as np

from jaxasr import text
from jaxasr.data.bound_pipeline import BoundPipeline
from jaxasr.data.pipeline import Pipeline
from jaxasr.data.prepared.corpus import PreparedCorpus
from jaxasr.data.prepared.shard_files import ShardFiles

LONGEST_S = 24.5
DESCRIPTION = (
    "synthetic lengths, roughly those of LibriSpeech: 70 % normal(14.2, 1.5) s, 30 % uniform(1.5, 12.5) s, the longest "
    "24.5 s, 2.7 words a second"
)
_HOURS = {"train-clean-100": 100.6, "train-clean-360": 363.6, "train-other-500": 496.7}
# The beginning of Pride and Prejudice (Jane Austen, 1813), which is in the public domain
_PAGE = """\
it is a truth universally acknowledged that a single man in possession of a good fortune must be in want of a wife
however little known the feelings or views of such a man may be on his first entering a neighbourhood this truth is so
well fixed in the minds of the surrounding families that he is considered as the rightful property of some one or
other of their daughters my dear mister bennet said his lady to him one day have you heard that netherfield park is
let at last mister bennet replied that he had not but it is returned she for missus long has just been here and she
told me all about it mister bennet made no answer do not you want to know who has taken it cried his wife impatiently
you want to tell me and i have no objection to hearing it this was invitation enough why my dear you must know missus
long says that netherfield is taken by a young man of large fortune from the north of england that he came down on
monday in a chaise and four to see the place and was so much delighted with it that he agreed with mister morris
immediately that he is to take possession before michaelmas and some of his servants are to be in the house by the end
of next week"""


def synthetic_lengths(pipeline: Pipeline, utterances: int = 20_000) -> BoundPipeline:
    """Returns the pipeline, opened on synthetic utterances that are the same in every call. Their audio can't be read."""
    names = [(corpus.name, corpus.split) for corpus, _ in pipeline.weighted]
    hours = np.array([_HOURS.get(split, 100.0) for _, split in names])
    counts = np.maximum(1, np.round(utterances * hours / hours.sum())).astype(int)
    rng = np.random.default_rng(0)
    words = _words(pipeline.tokenizer)
    sources = [_synthetic_split(*name, int(count), words, rng) for name, count in zip(names, counts, strict=True)]
    return BoundPipeline(
        sources=tuple(sources),
        weights=tuple(weight for _, weight in pipeline.weighted),
        transforms=pipeline.transforms,
        shape_choice=pipeline.shapes,
        shuffle_seed=pipeline.shuffle_seed,
        rate_hz=pipeline.rate_hz,
    )


def _words(tokenizer: text.Tokenizer) -> list[str]:
    def known(letter: str) -> bool:
        try:
            return bool(tokenizer.encode(letter.upper()) or tokenizer.encode(letter))
        except ValueError:
            return False

    letters = sorted(set(_PAGE) - {" ", "\n"})
    instead = next(filter(known, letters), "a")
    return _PAGE.translate({ord(letter): instead for letter in letters if not known(letter)}).split()


def _synthetic_split(name: str, split: str, count: int, page: list[str], rng: np.random.Generator) -> PreparedCorpus:
    short = rng.random(count) < 0.3
    seconds = np.where(short, rng.uniform(1.5, 12.5, count), rng.normal(14.2, 1.5, count)).clip(1.5, LONGEST_S)
    seconds[0] = LONGEST_S
    words = np.maximum(1, np.round(seconds * rng.normal(2.7, 0.35, count).clip(1.2, 4.2))).astype(int)
    starts = rng.integers(0, len(page), count)
    pages = page * (2 + int(words.max()) // len(page))
    return PreparedCorpus(
        name=name,
        split=split,
        ids=[f"invented-{i}" for i in range(count)],
        samples=np.round(seconds * 16_000).astype(np.int64),
        rates_hz=np.full(count, 16_000, np.int32),
        texts=[
            " ".join(pages[start : start + count]) for start, count in zip(starts.tolist(), words.tolist(), strict=True)
        ],
        speakers=["nobody"] * count,
        manifest_hash="stand-in",
        _crc32_b=np.zeros(count, np.uint32),
        _files=ShardFiles(()),
        _file_b=np.zeros(count, np.int32),
        _record_b=np.zeros(count, np.int32),
    )
