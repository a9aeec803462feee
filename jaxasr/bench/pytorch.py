"""The reference implementation of `jaxasr bench training` in plain PyTorch.

It is idiomatic PyTorch: `nn.LSTM` over packed sequences if lengths differ, `nn.TransformerEncoderLayer`, the fused Adam. If
all lengths are equal there is neither a mask nor packing, which favours PyTorch. Only this module and pytorch_layers import
PyTorch.
"""

from collections.abc import Callable

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]  # noqa: N812
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # pyright: ignore[reportMissingImports]

from jaxasr.bench.models import CLIP_NORM, LEARNING_RATE, BenchBatch, BenchStep, RecurrentSpec, SelfAttentiveSpec, Spec
from jaxasr.bench.pytorch_layers import (
    ConformerReference,
    ConvReference,
    TransformerDecoderReference,
    VggReference,
    sinusoid,
)
from jaxasr.records import END


def pytorch_step(spec: Spec, sizes: BenchBatch, *, threads: int) -> BenchStep:
    """Returns the training step of PyTorch: forward, backward, clipping and Adam on the batch of `jaxasr_step`."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = RecurrentReference(spec, sizes) if isinstance(spec, RecurrentSpec) else SelfAttentiveReference(spec, sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    frames_btf = torch.from_numpy(sizes.frames_btf())
    tokens_bu = torch.from_numpy(sizes.tokens_bu())
    lengths = {equal: torch.tensor(sizes.lengths(equal=equal)) for equal in (True, False)}

    def step(equal: bool) -> float:
        optimizer.zero_grad()
        logits_bkv, ctc_bsv, lengths_b = model(frames_btf, lengths[equal], tokens_bu)
        loss = _loss(logits_bkv, ctc_bsv, lengths_b, tokens_bu, ctc_weight=spec.ctc_weight)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        return float(loss.detach())

    return BenchStep(step, sum(parameter.numel() for parameter in model.parameters()))


def _loss(
    logits_bkv: Tensor, ctc_bsv: Tensor | None, lengths_b: Tensor, tokens_bu: Tensor, *, ctc_weight: float
) -> Tensor:
    """Returns the weighted sum of cross-entropy and CTC, divided by tokens and ends, as in `training.Objective`."""
    loss = F.cross_entropy(logits_bkv.flatten(0, 1), F.pad(tokens_bu, (0, 1), value=END).flatten())
    if ctc_bsv is None:
        return loss
    log_probs_sbv = ctc_bsv.transpose(0, 1).log_softmax(-1)
    token_lengths_b = torch.full_like(lengths_b, tokens_bu.shape[1])
    ctc = F.ctc_loss(log_probs_sbv, tokens_bu, lengths_b, token_lengths_b, blank=END, reduction="sum")
    return (1 - ctc_weight) * loss + ctc_weight * ctc / logits_bkv[..., 0].numel()


class RecurrentReference(nn.Module):
    """The model of `bench.models.RecurrentSpec`."""

    def __init__(self, spec: RecurrentSpec, load: BenchBatch):
        super().__init__()
        made = nn.LSTM if spec.cell == "lstm" else nn.GRU
        self.pools = spec.time_reduction
        self.front = VggReference(spec.channels) if spec.channels else None
        width = load.bins if self.front is None else self.front.width(load.bins)
        widths = [width] + [spec.width] * (len(spec.time_reduction) - 1)
        self.layers = nn.ModuleList(made(inputs, spec.width, batch_first=True, bidirectional=True) for inputs in widths)
        self.projections = nn.ModuleList(nn.Linear(2 * spec.width, spec.width) for _ in spec.time_reduction)
        self.speller = SpellerReference(spec, load.vocab)
        self.ctc = nn.Linear(spec.width, load.vocab)

    def forward(self, x: Tensor, lengths_b: Tensor, tokens_bu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        equal = bool((lengths_b == x.shape[1]).all())
        if self.front is not None:
            x, lengths_b = self.front(x, lengths_b)
        following = (*self.pools[1:], 1)
        for k, (layer, project) in enumerate(zip(self.layers, self.projections, strict=True)):
            if equal:
                x, _ = layer(x)
            else:
                packed = pack_padded_sequence(x, lengths_b, batch_first=True)
                x, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x.shape[1])
            x = x[:, :: following[k]]
            lengths_b = -(-lengths_b // following[k])
            x = project(x)
            x = x if k == len(self.pools) - 1 else torch.tanh(x)
        return self.speller(x, lengths_b, tokens_bu, equal=equal), self.ctc(x), lengths_b


class SpellerReference(nn.Module):
    """A recurrent decoder with location-aware attention: each step takes the previous token and the previous context."""

    def __init__(self, spec: RecurrentSpec, vocab: int):
        super().__init__()
        self.embed = nn.Embedding(vocab, spec.decoder_width)
        self.cell = (nn.LSTMCell if spec.cell == "lstm" else nn.GRUCell)(
            spec.decoder_width + spec.width, spec.decoder_width
        )
        self.query = nn.Linear(spec.decoder_width, spec.width, bias=False)
        self.key = nn.Linear(spec.width, spec.width)
        self.filter_bank = nn.Conv1d(1, spec.filters, spec.kernel_size, padding=spec.kernel_size // 2, bias=False)
        self.location = nn.Linear(spec.filters, spec.width, bias=False)
        self.energy = nn.Linear(spec.width, 1, bias=False)
        self.readout = nn.Linear(spec.decoder_width + spec.width, vocab)

    def forward(self, hidden_bsd: Tensor, lengths_b: Tensor, tokens_bu: Tensor, *, equal: bool) -> Tensor:
        keys_bsd = self.key(hidden_bsd)
        embedded_bke = self.embed(F.pad(tokens_bu, (1, 0), value=END))
        padding_bs = None if equal else torch.arange(hidden_bsd.shape[1])[None] >= lengths_b[:, None]
        weights_bs = hidden_bsd.new_zeros(hidden_bsd.shape[:2])
        context_bd = hidden_bsd.new_zeros(hidden_bsd[:, 0].shape)
        state = None
        outputs = []
        for embedded_be in embedded_bke.unbind(1):
            state = self.cell(torch.cat([embedded_be, context_bd], -1), state)
            query_bd = state[0] if isinstance(state, tuple) else state
            located_bsc = self.filter_bank(weights_bs[:, None]).transpose(1, 2)
            sum_bsd = keys_bsd + self.location(located_bsc) + self.query(query_bd)[:, None]
            energy_bs = self.energy(torch.tanh(sum_bsd))[..., 0]
            if padding_bs is not None:
                energy_bs = energy_bs.masked_fill(padding_bs, -torch.inf)
            weights_bs = energy_bs.softmax(-1)
            context_bd = torch.bmm(weights_bs[:, None], hidden_bsd)[:, 0]
            outputs.append(torch.cat([query_bd, context_bd], -1))
        return self.readout(torch.stack(outputs, 1))


class SelfAttentiveReference(nn.Module):
    """The model of `bench.models.SelfAttentiveSpec`."""

    def __init__(self, spec: SelfAttentiveSpec, load: BenchBatch):
        super().__init__()
        width = spec.width
        heads = spec.heads
        hidden = spec.expansion * spec.width
        self.front = ConvReference(spec.channels)
        self.project = nn.Linear(self.front.width(load.bins), width)
        layer: Callable[[], nn.Module]
        if spec.kind == "conformer":
            layer = lambda: ConformerReference(width, heads, hidden, spec.kernel_size)  # noqa: E731
            self.norm = nn.Identity()
        else:
            options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
            layer = lambda: nn.TransformerEncoderLayer(width, heads, hidden, **options)  # noqa: E731
            self.norm = nn.LayerNorm(width)
        self.absolute = spec.kind == "transformer"
        self.layers = nn.ModuleList(layer() for _ in range(spec.depth))
        self.reader = TransformerDecoderReference(spec.decoder_depth, width, heads, hidden, load.vocab)
        self.ctc = nn.Linear(width, load.vocab) if spec.ctc_weight else None

    def forward(self, x: Tensor, lengths_b: Tensor, tokens_bu: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        equal = bool((lengths_b == x.shape[1]).all())
        x, lengths_b = self.front(x, lengths_b)
        x = self.project(x)
        if self.absolute:
            x = x + sinusoid(torch.arange(x.shape[1]), x.shape[2])
        padding_bs = None if equal else torch.arange(x.shape[1])[None] >= lengths_b[:, None]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding_bs)
        x = self.norm(x)
        return self.reader(x, tokens_bu, padding_bs), None if self.ctc is None else self.ctc(x), lengths_b
