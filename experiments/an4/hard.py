r"""Hard attentions on AN4 that begin with the parameters of the trained soft recogniser of crdnn.py with the same seed.

    jaxasr sweep experiments/an4/crdnn.py:seeds --workdir runs
    jaxasr train experiments/an4/hard.py:attentions:an4-MoChA-0 --init-from runs/an4-crdnn-0 --workdir runs/an4-MoChA-0 \
        --results experiments/an4/results.jsonl
The row "soft" trains 800 more steps with the attention of crdnn.py: what the others gain or lose is due to attention.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from jaxasr import nn, training
from jaxasr.experiment import Experiment, load

STEPS = 800
SOFT_STEPS = 200  # over which the weights change from soft to hard ones
WIDTH = 192


def experiment() -> Experiment:
    """Returns the recogniser of crdnn.py with a third of its learning rate and 800 steps."""
    crdnn = load(str(Path(__file__).with_name("crdnn.py")))
    return replace(
        crdnn,
        optimizer=replace(crdnn.optimizer, schedule=training.RampHoldDecay(50, 350, STEPS, peak=5e-4)),
        steps=STEPS,
        eval_every=400,
        save_every=400,
    )


def warm(attention: nn.ScoredAttention, hard: nn.AlignmentFn) -> nn.Attention:
    """Returns the attention with weights that go over from soft ones to those of `hard`."""
    return attention.clone(focus=nn.WarmStart(nn.Softmax(), hard, until=SOFT_STEPS, change="ramp"))


def attentions() -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields three seeds of every attention, with the auxiliary losses it needs."""
    location = nn.LocationAttention(WIDTH, kernel_size=31)
    content = nn.AdditiveAttention(WIDTH)
    stops = nn.Monotonic(bias=-1.0)
    synchronous = (training.CtcSynchronous(weight=0.02),)
    rows: dict[str, tuple[nn.Attention, tuple[training.AuxiliaryLoss, ...]]] = {
        "soft": (location, ()),
        "monotonic": (warm(content, stops), synchronous),
        "MoChA": (warm(content, nn.MoChA(nn.AdditiveAttention(WIDTH), chunk=4, stops=stops)), synchronous),
        "sampled": (warm(location, nn.HardAttention(samples=2)), (training.Reinforce(),)),
        "Gumbel": (warm(location, nn.GumbelSoftmax()), ()),
        "latent": (location.clone(focus=nn.LatentAttention(best=4)), ()),
    }
    for name, (attention, auxiliary) in rows.items():
        for seed in range(3):
            changes = {"model.decoder.attention": attention, "objective.auxiliary": auxiliary, "seed": seed}
            yield f"an4-{name}-{seed}", changes
