"""Lengths in place of a corpus that is not prepared here: enough to choose shapes by, and nothing to train on.

The lengths are LibriSpeech's in the rough: 70 % of the utterances normal(14.2, 1.5) s, 30 % uniform(1.5, 12.5) s, the longest
24.5 s, at the shares of its parts; read at 2.7 words a second, give or take 0.35, no slower than 1.2 and no faster than 4.2.
The words are those of a novel's first page, so that any tokenizer makes as many tokens of them as it does of such English;
letters that a vocabulary has not are written as one that it has.
"""

import numpy as np

from jaxasr import text
from jaxasr.data.bound_pipeline import BoundPipeline
from jaxasr.data.pipeline import Pipeline
from jaxasr.data.prepared.corpus import PreparedCorpus

LONGEST_S = 24.5
DESCRIPTION = (
    "stand-in lengths, LibriSpeech's in the rough: 70 % normal(14.2, 1.5) s, 30 % uniform(1.5, 12.5) s, the longest 24.5 s, "
    "2.7 words a second"
)
_HOURS = {"train-clean-100": 100.6, "train-clean-360": 363.6, "train-other-500": 496.7}
# Jane Austen, Pride and Prejudice (1813), the beginning: in the public domain.
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
    """The pipeline opened on invented utterances, so many in all, the same every time. Their audio can't be read."""
    names = [(corpus.name, corpus.split) for corpus, _ in pipeline.weighted]
    hours = np.array([_HOURS.get(split, 100.0) for _, split in names])
    counts = np.maximum(1, np.round(utterances * hours / hours.sum())).astype(int)
    rng = np.random.default_rng(0)
    words = _words(pipeline.tokenizer)
    sources = [_synthetic_split(*each, int(count), words, rng) for each, count in zip(names, counts, strict=True)]
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
    return _PAGE.translate({ord(each): instead for each in letters if not known(each)}).split()


def _synthetic_split(name: str, split: str, count: int, told: list[str], rng: np.random.Generator) -> PreparedCorpus:
    short = rng.random(count) < 0.3
    seconds = np.where(short, rng.uniform(1.5, 12.5, count), rng.normal(14.2, 1.5, count)).clip(1.5, LONGEST_S)
    seconds[0] = LONGEST_S
    words = np.maximum(1, np.round(seconds * rng.normal(2.7, 0.35, count).clip(1.2, 4.2))).astype(int)
    firsts = rng.integers(0, len(told), count)
    pages = told * (2 + int(words.max()) // len(told))
    return PreparedCorpus(
        name=name,
        split=split,
        ids=[f"invented-{i}" for i in range(count)],
        samples=np.round(seconds * 16_000).astype(np.int64),
        rates_hz=np.full(count, 16_000, np.int32),
        texts=[
            " ".join(pages[first : first + each]) for first, each in zip(firsts.tolist(), words.tolist(), strict=True)
        ],
        speakers=["nobody"] * count,
        manifest_hash="stand-in",
        _crc32_b=np.zeros(count, np.uint32),
        _files=[],
        _file_b=np.zeros(count, np.int64),
        _record_b=np.zeros(count, np.int64),
    )
