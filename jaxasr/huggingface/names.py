"""The tensors of Whisper beside the parameters of this package: names, layouts and the order of the vocabulary.

A linear layer of PyTorch is [out, in], here [in, out]; a convolution is [out, in, k], here [k, 1, in, out]. Queries, keys
and values of a self-attention are one layer here. Its bias of the keys has no counterpart: it adds the same number to all
energies of a query, so the softmax cancels it. It is zero after an import, and an export leaves it out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from jaxasr.huggingface.whisper_config import WhisperConfig

Layout = Literal["same", "linear", "convolution", "vocabulary"]
Flat = Mapping[str, np.ndarray]
TIED = "proj_out.weight"  # the readout, which is the embeddings; files may have it twice


class Counterpart(NamedTuple):
    """A tensor of Whisper, and the part of a parameter that it is."""

    name: str
    path: str
    layout: Layout
    third: int | None = None  # of the last axis: 0 queries, 1 keys, 2 values; None: the whole parameter


def counterparts(config: WhisperConfig) -> list[Counterpart]:
    """Returns the counterpart of every tensor."""
    return [*_encoder(config), *_decoder(config)]


def to_parameters(
    config: WhisperConfig,
    read: Callable[[str], Float32[np.ndarray, "..."]],
    shapes: Mapping[str, tuple[int, ...]],
    ids_v: Int64[np.ndarray, " v"],
) -> dict[str, np.ndarray]:
    """Returns the parameters by path.

    Args:
        config: that of the checkpoint.
        read: returns a tensor of Whisper by name.
        shapes: those of the parameters, by path.
        ids_v: the id in the checkpoint of each token of this package.
    """
    flat = {part.path: np.zeros(shapes[part.path], np.float32) for part in counterparts(config)}
    for part in counterparts(config):
        array = read(part.name)
        match part.layout:
            case "linear":
                array = array.T
            case "convolution":
                array = array.transpose(2, 1, 0)[:, None]
            case "vocabulary":
                array = array[ids_v]
            case "same":
                pass
        flat[part.path][..., _columns(part, flat[part.path])] = array
    return flat


def to_tensors(
    config: WhisperConfig, flat: Flat, ids_v: Int64[np.ndarray, " v"]
) -> dict[str, Float32[np.ndarray, "..."]]:
    """Returns the tensors of Whisper by name, the inverse of `to_parameters`."""
    tensors: dict[str, np.ndarray] = {}
    for part in counterparts(config):
        array = np.asarray(flat[part.path], np.float32)[..., _columns(part, flat[part.path])]
        match part.layout:
            case "linear":
                array = array.T
            case "convolution":
                array = array[:, 0].transpose(2, 1, 0)
            case "vocabulary":
                array = array[np.argsort(ids_v)]
            case "same":
                pass
        tensors[part.name] = np.ascontiguousarray(array)
    return tensors


def expected_shapes(config: WhisperConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Returns the shape that each tensor of Whisper must have, from the shapes of the parameters."""
    found: dict[str, tuple[int, ...]] = {}
    for part in counterparts(config):
        *rest, last = shapes[part.path]
        shape = (*rest, last if part.third is None else last // 3)
        if part.layout == "linear":
            shape = shape[::-1]
        elif part.layout == "convolution":
            shape = (shape[3], shape[2], shape[0])
        found[part.name] = shape
    return found


def _columns(part: Counterpart, parameter: np.ndarray) -> slice:
    if part.third is None:
        return slice(None)
    width = parameter.shape[-1] // 3
    return slice(part.third * width, (part.third + 1) * width)


def _encoder(config: WhisperConfig) -> Iterator[Counterpart]:
    theirs = "model.encoder"
    ours = "params/encoder"
    for layer in range(2):
        yield from _linear(f"{theirs}.conv{layer + 1}", f"{ours}/subsampling/conv_{layer}", "convolution")
    yield Counterpart(f"{theirs}.embed_positions.weight", "constants/encoder/positions", "same")
    yield from _norm(f"{theirs}.layer_norm", f"{ours}/norm")
    for layer in range(config.encoder_layers):
        there = f"{theirs}.layers.{layer}"
        here = f"{ours}/block_{layer}"
        yield from _self_attention(there, f"{here}/attention")
        yield from _feed_forward(there, f"{here}/feed")


def _decoder(config: WhisperConfig) -> Iterator[Counterpart]:
    theirs = "model.decoder"
    ours = "params/decoder"
    yield Counterpart(f"{theirs}.embed_tokens.weight", f"{ours}/embed/embedding", "vocabulary")
    yield Counterpart(f"{theirs}.embed_positions.weight", f"{ours}/embed_positions", "same")
    yield from _norm(f"{theirs}.layer_norm", f"{ours}/norm")
    for layer in range(config.decoder_layers):
        there = f"{theirs}.layers.{layer}"
        here = f"{ours}/blocks_{layer}"
        yield from _self_attention(there, f"{here}/tokens")
        yield from _norm(f"{there}.encoder_attn_layer_norm", f"{here}/norm")
        yield from _linear(f"{there}.encoder_attn.q_proj", f"{here}/attention/query")
        yield Counterpart(f"{there}.encoder_attn.k_proj.weight", f"{here}/attention/key/kernel", "linear")
        yield from _linear(f"{there}.encoder_attn.v_proj", f"{here}/attention/value")
        yield from _linear(f"{there}.encoder_attn.out_proj", f"{here}/context")
        yield from _feed_forward(there, f"{here}/feed")


def _self_attention(there: str, here: str) -> Iterator[Counterpart]:
    yield from _norm(f"{there}.self_attn_layer_norm", f"{here}/norm")
    for third, letter in enumerate("qkv"):
        weight = f"{there}.self_attn.{letter}_proj.weight"
        yield Counterpart(weight, f"{here}/query_key_value/kernel", "linear", third)
        if letter != "k":
            yield Counterpart(f"{there}.self_attn.{letter}_proj.bias", f"{here}/query_key_value/bias", "same", third)
    yield from _linear(f"{there}.self_attn.out_proj", f"{here}/output")


def _feed_forward(there: str, here: str) -> Iterator[Counterpart]:
    yield from _norm(f"{there}.final_layer_norm", f"{here}/norm")
    yield from _linear(f"{there}.fc1", f"{here}/widen")
    yield from _linear(f"{there}.fc2", f"{here}/narrow")


def _linear(there: str, here: str, layout: Layout = "linear") -> Iterator[Counterpart]:
    yield Counterpart(f"{there}.weight", f"{here}/kernel", layout)
    yield Counterpart(f"{there}.bias", f"{here}/bias", "same")


def _norm(there: str, here: str) -> Iterator[Counterpart]:
    yield Counterpart(f"{there}.weight", f"{here}/scale", "same")
    yield Counterpart(f"{there}.bias", f"{here}/bias", "same")
