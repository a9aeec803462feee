"""The configuration of a Whisper checkpoint, from config.json, generation_config.json and preprocessor_config.json.

Source: Radford et al. 2022, 2212.04356; the names of the fields are those of `transformers`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FRONTEND = {"sampling_rate": 16_000, "n_fft": 400, "hop_length": 160}  # of every Whisper
_FRAMES_PER_S = 100
_STRIDE = 2  # of the convolutions
_MULTILINGUAL_VOCAB = 51_865  # the smallest one of several languages, where no file says whether there are


@dataclass(frozen=True)
class WhisperConfig:
    """The sizes of a Whisper, and the tokens of its decoding, as ids of the checkpoint."""

    width: int
    encoder_layers: int
    encoder_heads: int
    encoder_ffn: int
    decoder_layers: int
    decoder_heads: int
    decoder_ffn: int
    vocab: int
    bins: int
    audio_positions: int  # of the encoder
    text_positions: int  # of the decoder, the prompt included
    seconds: float  # of a window of audio
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]
    alignment_heads: tuple[tuple[int, int], ...]  # (layer, head) whose attention gives word times
    multilingual: bool  # True: the prompt names language and task

    def __post_init__(self):
        for name, width, whole in (
            ("encoder_ffn_dim", self.encoder_ffn, False),
            ("decoder_ffn_dim", self.decoder_ffn, True),
        ):
            if width < self.width or (whole and width % self.width):
                raise ValueError(f"config.json has {name}={width} and d_model={self.width}; a multiple of it is needed")
        if self.audio_positions != round(self.seconds * _FRAMES_PER_S / _STRIDE):
            raise ValueError(
                f"config.json has max_source_positions={self.audio_positions}, and preprocessor_config.json "
                f"chunk_length={self.seconds:g} s, which are {round(self.seconds * _FRAMES_PER_S / _STRIDE)} positions"
            )


def read_config(folder: Path) -> WhisperConfig:
    """Reads the configuration of a folder.

    Raises:
        FileNotFoundError: there is no config.json.
        ValueError: a file is damaged, the checkpoint is no Whisper, or it has an option that is not supported.
    """
    config = _read(folder / "config.json")
    if config.get("model_type") != "whisper":
        raise ValueError(
            f"{folder / 'config.json'} has model_type={config.get('model_type')!r}; only whisper is imported"
        )
    generation = _read(folder / "generation_config.json", needed=False)
    frontend = _read(folder / "preprocessor_config.json", needed=False)
    for file, values, expected in (
        ("config.json", config, {"activation_function": "gelu", "scale_embedding": False, "tie_word_embeddings": True}),
        ("preprocessor_config.json", frontend, _FRONTEND),
    ):
        for name, value in expected.items():
            if values.get(name, value) != value:
                raise ValueError(
                    f"{folder / file} has {name}={values[name]!r}; Whisper has {value!r}, and no other is imported"
                )
    try:
        return _config(config, generation, frontend)
    except KeyError as error:
        raise ValueError(f"{folder / 'config.json'} has no {error.args[0]}, which every Whisper has") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {error}") from error


def _config(config: dict[str, Any], generation: dict[str, Any], frontend: dict[str, Any]) -> WhisperConfig:
    def tokens(name: str) -> tuple[int, ...]:
        ids = sorted(int(token) for token in generation.get(name, config.get(name)) or ())
        if wrong := [id for id in ids if not 0 <= id < config["vocab_size"]]:
            raise ValueError(
                f"{name} has {', '.join(map(str, wrong))}; ids from 0 to {config['vocab_size'] - 1} are needed"
            )
        return tuple(ids)

    layers = int(config["decoder_layers"])
    heads = int(config["decoder_attention_heads"])
    last_half = [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]  # as OpenAI's code
    return WhisperConfig(
        width=int(config["d_model"]),
        encoder_layers=int(config["encoder_layers"]),
        encoder_heads=int(config["encoder_attention_heads"]),
        encoder_ffn=int(config["encoder_ffn_dim"]),
        decoder_layers=layers,
        decoder_heads=heads,
        decoder_ffn=int(config["decoder_ffn_dim"]),
        vocab=int(config["vocab_size"]),
        bins=int(frontend.get("feature_size", config["num_mel_bins"])),
        audio_positions=int(config["max_source_positions"]),
        text_positions=int(config["max_target_positions"]),
        seconds=float(frontend.get("chunk_length", config["max_source_positions"] * _STRIDE / _FRAMES_PER_S)),
        suppressed=tokens("suppress_tokens"),
        suppressed_first=tokens("begin_suppress_tokens"),
        alignment_heads=tuple(
            (int(layer), int(head)) for layer, head in generation.get("alignment_heads") or last_half
        ),
        multilingual=bool(generation.get("is_multilingual", config["vocab_size"] >= _MULTILINGUAL_VOCAB)),
    )


def _read(path: Path, *, needed: bool = True) -> dict[str, Any]:
    if not path.is_file():
        if needed:
            raise FileNotFoundError(f"there is no {path}; is this the folder of a Hugging Face checkpoint?")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}; fetch it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no JSON object; fetch it again")
    return content
