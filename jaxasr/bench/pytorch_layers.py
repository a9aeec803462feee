"""Layers of the PyTorch reference implementation (pytorch.py) that PyTorch itself does not have."""

import math

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]  # noqa: N812

from jaxasr.records import END


class ConvReference(nn.Module):
    """The layer `nn.ConvSubsampling`: 3 x 3 convolutions of stride 2, ReLU after each."""

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        inputs = (1, *channels[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(inputs, channels, strict=True)
        )

    def width(self, bins: int) -> int:
        """Returns the width of the output."""
        return self.layers[-1].out_channels * math.ceil(bins / 2 ** len(self.layers))

    def forward(self, x_btf: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        x_bctf = x_btf[:, None]
        for layer in self.layers:
            x_bctf = F.relu(layer(x_bctf))
            lengths_b = -(-lengths_b // 2)
        return x_bctf.transpose(1, 2).flatten(2), lengths_b


class VggReference(nn.Module):
    """The layer `nn.VggSubsampling`: blocks of two 3 x 3 convolutions and 2 x 2 max-pooling."""

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        pairs = [pair for a, b in zip((1, *channels), channels, strict=False) for pair in ((a, b), (b, b))]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)

    def width(self, bins: int) -> int:
        """Returns the width of the output."""
        return self.layers[-1].out_channels * math.ceil(bins / 2 ** (len(self.layers) // 2))

    def forward(self, x_btf: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        x_bctf = x_btf[:, None]
        for k, layer in enumerate(self.layers):
            x_bctf = F.relu(layer(x_bctf))
            if k % 2:
                x_bctf = F.max_pool2d(x_bctf, 2, ceil_mode=True)
                lengths_b = -(-lengths_b // 2)
        return x_bctf.transpose(1, 2).flatten(2), lengths_b


def sinusoid(positions_k: Tensor, width: int) -> Tensor:
    """Returns sines and cosines of the positions (Vaswani et al. 2017, section 3.5)."""
    rate_e = torch.exp(torch.arange(width // 2) * (-2 * math.log(10_000.0) / width))
    angle_ke = positions_k[:, None] * rate_e
    return torch.cat([angle_ke.sin(), angle_ke.cos()], -1)


def _feed_forward(width: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width))


class ConformerReference(nn.Module):
    """The layer `nn.ConformerBlock`: half a feed-forward step, self-attention, convolution, another half step, norm."""

    def __init__(self, width: int, heads: int, hidden: int, kernel_size: int):
        super().__init__()
        self.before = _feed_forward(width, hidden)
        self.after = _feed_forward(width, hidden)
        self.attention = RelativeAttention(width, heads)
        self.gate_norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.filters = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, groups=width, bias=False)
        self.filter_norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, *, src_key_padding_mask: Tensor | None) -> Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x, src_key_padding_mask)
        x = x + self._convolved(x, src_key_padding_mask)
        return self.norm(x + 0.5 * self.after(x))

    def _convolved(self, x: Tensor, padding_bs: Tensor | None) -> Tensor:
        x = F.glu(self.gate(self.gate_norm(x)))
        if padding_bs is not None:
            x = x.masked_fill(padding_bs[..., None], 0.0)
        x = self.filters(x.transpose(1, 2)).transpose(1, 2)
        return self.mix(F.silu(self.filter_norm(x)))


class RelativeAttention(nn.Module):
    """A self-attention with relative positions (Dai et al. 2019, section 3.3)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.distance = nn.Linear(width, width, bias=False)
        self.key_bias = nn.Parameter(torch.zeros(heads, 1, width // heads))
        self.distance_bias = nn.Parameter(torch.zeros(heads, 1, width // heads))

    def forward(self, x: Tensor, padding_bs: Tensor | None) -> Tensor:
        b, s, d = x.shape
        q, k, v = self.query_key_value(self.norm(x)).view(b, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        table_rd = self.distance(sinusoid(torch.arange(s - 1, -s, -1), d))
        distances_hre = table_rd.view(2 * s - 1, self.heads, -1).transpose(0, 1)
        by_distance = (q + self.distance_bias) @ distances_hre.transpose(-1, -2)
        scores = (q + self.key_bias) @ k.transpose(-1, -2) + _shift_relative(by_distance)
        scores = scores * (d // self.heads) ** -0.5
        if padding_bs is not None:
            scores = scores.masked_fill(padding_bs[:, None, None], -torch.inf)
        return self.output((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, s, d))


def _shift_relative(scores_bhqr: Tensor) -> Tensor:
    """Maps scores by distance (s - 1 ... 1 - s) of each query to scores by key."""
    b, h, q, r = scores_bhqr.shape
    padded = F.pad(scores_bhqr, (1, 0)).view(b, h, r + 1, q)
    return padded[:, :, 1:].reshape(b, h, q, r)[..., :q]


class TransformerDecoderReference(nn.Module):
    """The layer `nn.TransformerDecoder`, made of PyTorch's own layers."""

    def __init__(self, depth: int, width: int, heads: int, hidden: int, vocab: int):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.layers = nn.ModuleList(nn.TransformerDecoderLayer(width, heads, hidden, **options) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, vocab)

    def forward(self, hidden_bsd: Tensor, tokens_bu: Tensor, padding_bs: Tensor | None) -> Tensor:
        x = self.embed(F.pad(tokens_bu, (1, 0), value=END))
        k, width = x.shape[1:]
        x = x * math.sqrt(width) + sinusoid(torch.arange(k), width)
        causal_kk = nn.Transformer.generate_square_subsequent_mask(k)
        for layer in self.layers:
            x = layer(x, hidden_bsd, tgt_mask=causal_kk, tgt_is_causal=True, memory_key_padding_mask=padding_bs)
        return self.readout(self.norm(x))
