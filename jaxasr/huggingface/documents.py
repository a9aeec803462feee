"""The configuration files beside an exported Whisper, in the form that `transformers` reads."""

import re
from collections.abc import Sequence
from typing import Any

from jaxasr.huggingface.whisper_config import WhisperConfig
from jaxasr.text import ByteLevelBpe

_TASKS = ("transcribe", "translate")


def documents(config: WhisperConfig, tokenizer: ByteLevelBpe, prompt: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Returns the contents of the JSON files by their names without suffix.

    Args:
        config: the sizes of the model.
        tokenizer: the tokenizer of the run.
        prompt: the tokens of the decoder's prompt.
    """
    end = tokenizer.id(0)
    tokens = {
        "decoder_start_token_id": tokenizer.id(prompt[0]),
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "suppress_tokens": list(config.suppressed),
        "begin_suppress_tokens": list(config.suppressed_first),
    }
    generation = {
        **tokens,
        "alignment_heads": [list(pair) for pair in config.alignment_heads],
        "is_multilingual": config.multilingual,
        "max_length": config.text_positions,
        "no_timestamps_token_id": tokenizer.id(prompt[-1]),
        "return_timestamps": False,
    }
    return {
        "config": {**_model(config), **tokens},
        "generation_config": generation | (_languages_and_tasks(tokenizer) if config.multilingual else {}),
        "preprocessor_config": _frontend(config),
        "tokenizer_config": {
            "tokenizer_class": "WhisperTokenizer",
            **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), tokenizer.end),
            "add_prefix_space": False,
        },
    }


def _model(config: WhisperConfig) -> dict[str, Any]:
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "is_encoder_decoder": True,
        "activation_function": "gelu",
        "scale_embedding": False,
        "d_model": config.width,
        "num_hidden_layers": config.encoder_layers,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.encoder_heads,
        "encoder_ffn_dim": config.encoder_ffn,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.decoder_heads,
        "decoder_ffn_dim": config.decoder_ffn,
        "vocab_size": config.vocab,
        "num_mel_bins": config.bins,
        "max_source_positions": config.audio_positions,
        "max_target_positions": config.text_positions,
        "dtype": "float32",
    }


def _frontend(config: WhisperConfig) -> dict[str, Any]:
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": config.bins,
        "sampling_rate": 16_000,
        "n_fft": 400,
        "hop_length": 160,
        "chunk_length": round(config.seconds),
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def _languages_and_tasks(tokenizer: ByteLevelBpe) -> dict[str, dict[str, int]]:
    """Returns the ids of the special tokens of languages, of two or three letters, and of tasks."""
    special = tokenizer.specials
    return {
        "lang_to_id": {name: id for name, id in special.items() if re.fullmatch(r"<\|[a-z]{2,3}\|>", name)},
        "task_to_id": {task: special[f"<|{task}|>"] for task in _TASKS if f"<|{task}|>" in special},
    }
