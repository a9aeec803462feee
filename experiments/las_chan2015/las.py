r"""Listen, Attend and Spell of the paper's size on LibriSpeech 960 h, characters, no language model (arXiv:1508.01211).

    jaxasr train experiments/las_chan2015/las.py --workdir runs/las-0
    jaxasr sweep experiments/las_chan2015/las.py:table_1
The paper's figures are of Google voice search, which nobody else has; here their order can be run again. Ours: table_1.md.
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TOKENS = text.Characters(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=8, seconds_per_batch=400.0, examples_multiple=4)
EVAL_SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=400.0)
LIBRISPEECH = {
    name: data.Pipeline(data.Corpus("librispeech", name), SPEECH, EVAL_SHAPES, shuffle_seed=0) for name in SPLITS
}


def experiment() -> Experiment:
    """Returns a plain layer and a pyramid of three, 256 a direction, stride 8, and a speller of two layers of 512."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=40, normalize="global"),
            encoder=nn.Listener(256, (1, 2, 2, 2)),
            decoder=nn.Speller(2, 512, nn.DotAttention(512, heads=1, scaled=False), vocab=TOKENS.size),
        ),
        train_data=data.Pipeline(
            tuple((data.Corpus("librispeech", part), 1.0) for part in PARTS), SPEECH, SHAPES, shuffle_seed=1
        ),
        objective=training.Objective(),
        optimizer=training.Sgd(training.Exponential(0.2, 0.98, every_steps=440), clip_norm=1.0),
        steps=176_000,
        validation=Split(LIBRISPEECH["dev-other"], decode.Greedy()),
        evals={name: Split(LIBRISPEECH[name], decode.Beam(32)) for name in SPLITS},
        eval_every=4_400,
        save_every=1_100,
    )


def table_1():
    """Transcripts as they are, and with a tenth of the fed characters drawn from the model; three seeds a row."""
    for row, sampling in {"las": 0.0, "sampling": 0.1}.items():
        for seed in (0, 1, 2):
            yield f"{row}-{seed}", {"model.decoder.sampling": sampling, "seed": seed}
