"""A first experiment file for a prepared corpus, as `jaxasr prepare --write-experiment FILE` writes it.

It is a start and no recipe: attention and CTC on characters, with a size and a number of steps that follow from the hours.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxasr.data import Contents
from jaxasr.data.prepared.contents import SplitContents
from jaxasr.files import write_whole

_LONGEST_S = 35.0  # longer utterances are left out of training
_LONGEST_EVAL_S = 96.0
_EPOCHS = 15
_FEWEST_STEPS = 1_000
_MANY = 200  # utterances of train, of which 5 % can validate
_FEW = 10
_TEMPLATE = '''\
r"""A first experiment on {name}: {utterances:,} utterances, {hours:.2f} h of training; written by `jaxasr prepare`.

    jaxasr show {file}
    jaxasr train {file} --workdir runs/{name}
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters({alphabet})
SPEECH = (data.Normalize("{normalizer}"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=4, seconds_per_batch={batch_s:.1f})
EVAL_SHAPES = data.ChooseBuckets(count=2, seconds_per_batch={eval_batch_s:.1f})


def split(name: str, search: decode.Search) -> Split:
    """Returns a split of the corpus to evaluate on."""
    corpus = data.Corpus("{name}", name)
    return Split(data.Pipeline(corpus, SPEECH, EVAL_SHAPES, shuffle_seed=0{rate}), search)


def experiment() -> Experiment:
    """Returns {depth} bidirectional layers of {width} at 30 ms with location-aware attention and CTC."""
    beam = decode.Beam(8, length_norm=1.0, ctc_weight=0.3)
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins={bins}{frontend}),
            augment=nn.SpecAugment(freq_masks=2, freq_bins={freq_bins}, time_masks=2, time_frames=20, time_share=0.2),
            encoder=nn.Listener(width={width}, time_reduction={time_reduction}, dropout={dropout}),
            decoder=nn.Speller(
                1, {width}, nn.LocationAttention({width}, kernel_size=31), vocab=TOKENS.size, dropout={dropout}
            ),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(data.Corpus("{name}", "{train}"), {keep}SPEECH, SHAPES, shuffle_seed=1{rate}),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5),
        optimizer=training.Adam(training.RampHoldDecay({ramp:_}, {hold:_}, {steps:_}, peak={peak}), b2=0.98, clip_norm=5.0),
        steps={steps:_},
        validation=split("{dev}", decode.Greedy()),
        evals={{{evals}}},
        eval_every={every:_},
        save_every={every:_},
        log_every=25,
        ema_decay=0.99,
    )
'''


@dataclass(frozen=True)
class _Size:
    """The size of a first model."""

    most_hours: float
    width: int
    depth: int
    bins: int
    batch_s: float
    peak: str
    dropout: float


_SIZES = (
    _Size(3.0, 128, 2, 40, 48.0, "3e-3", 0.1),
    _Size(30.0, 256, 3, 80, 120.0, "2e-3", 0.2),
    _Size(300.0, 512, 4, 80, 480.0, "1e-3", 0.2),
    _Size(float("inf"), 1024, 4, 80, 1_920.0, "1e-3", 0.1),
)


def write_starter(contents: Contents, file: Path) -> None:
    """Writes an experiment file for a prepared corpus.

    Raises:
        FileExistsError: the file exists.
        ValueError: the corpus has no audio, no transcripts, or no split for training.
    """
    check_new(file)
    write_whole(file, starter_text(contents, file.name))


def check_new(file: Path) -> None:
    """Raises FileExistsError if a file exists, or FileNotFoundError if its folder does not."""
    if file.exists():
        raise FileExistsError(f"{file} exists; give another name to --write-experiment, or move it away")
    if not file.absolute().parent.is_dir():
        raise FileNotFoundError(f"{file.parent} is no folder, which --write-experiment {file} needs")


def starter_text(contents: Contents, file: str) -> str:
    """Returns the text of an experiment file. Errors are those of `write_starter`."""
    train, dev, evals = _roles(contents)
    parts = [contents.splits[name] for name in train]
    hours = sum(part.hours for part in parts)
    alphabet = contents.transcripts.alphabet
    if not hours or not alphabet:
        raise ValueError(f"{contents.name} has no audio or no transcripts: --write-experiment is for speech")
    size = next(size for size in _SIZES if hours <= size.most_hours)
    longest_s = float(max(np.max(part.seconds_b) for part in parts))
    longest_eval_s = float(max(np.max(part.seconds_b) for part in contents.splits.values()))
    steps = max(_FEWEST_STEPS, round(_EPOCHS * hours * 3600 / size.batch_s / 500) * 500)
    is_narrow = _is_narrow(contents)
    share = _trained_share(parts)
    held_out = "+".join(f"{name}[{share}%:]" for name in train)
    return _TEMPLATE.format(
        name=contents.name,
        file=file,
        utterances=sum(part.examples for part in parts),
        hours=hours,
        alphabet=json.dumps(alphabet, ensure_ascii=False),
        normalizer=contents.transcripts.normalizer,
        batch_s=max(size.batch_s, 2 * min(longest_s, _LONGEST_S)),
        eval_batch_s=max(_LONGEST_EVAL_S, np.ceil(longest_eval_s)),
        rate=", rate_hz=8_000" if is_narrow else "",
        frontend=", rate_hz=8_000, high_hz=3_800.0" if is_narrow else "",
        keep=f"(data.KeepSeconds(0.0, {_LONGEST_S}),) + " if longest_s > _LONGEST_S else "",
        depth=size.depth,
        width=size.width,
        bins=size.bins,
        freq_bins=size.bins // 5,
        time_reduction=(3, *[1] * (size.depth - 1)),
        dropout=size.dropout,
        ramp=steps // 10,
        hold=steps // 2,
        steps=steps,
        every=steps // 2 if steps < 2_000 else 1_000,
        peak=size.peak,
        train="+".join(train if dev else [f"{name}[:{share}%]" for name in train]),
        dev=dev or held_out,
        evals=", ".join(f'"{_eval_name(name, evals)}": split("{name}", beam)' for name in evals)
        or f'"dev": split("{held_out}", beam)',
    )


def _roles(contents: Contents) -> tuple[list[str], str, list[str]]:
    """Returns the splits for training, the one for validation (or ""), and those to evaluate at the end."""
    names = [name for name in contents.splits if contents.splits[name].hours]
    train = [name for name in names if name.lower().startswith("train")]
    rest = [name for name in names if name not in train]
    if not train and rest:
        train = [max(rest, key=lambda name: contents.splits[name].hours)]
        rest.remove(train[0])
    if not train:
        raise ValueError(f"{contents.name} has no split with audio: --write-experiment is for speech")
    dev = next((name for name in rest if name.lower().startswith(("dev", "val"))), "")
    return train, dev or (rest[0] if len(rest) > 1 else ""), rest


def _eval_name(split: str, splits: list[str]) -> str:
    """Returns the name of a split in `evals`, where "validation" is the name of the field."""
    return split if split != "validation" else "dev" if "dev" not in splits else "validation_split"


def _trained_share(parts: list[SplitContents]) -> int:
    """Returns the percentage of train that is trained on if the rest has to validate. Few utterances need a larger rest."""
    fewest = min(part.examples for part in parts)
    return 95 if fewest >= _MANY else 80 if fewest >= _FEW else 50


def _is_narrow(contents: Contents) -> bool:
    """Tells whether most utterances were sampled below 16 kHz."""
    rates = contents.transcripts.rates_hz
    return sum(count for rate, count in rates.items() if rate < 16_000) > sum(rates.values()) / 2
