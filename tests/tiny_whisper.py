"""Tiny Whisper checkpoints with random weights in the layout of Hugging Face, for tests."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LETTERS = ["Ġ", "t", "h", "e", "a", "Ġt", "he", "Ġthe", "Ġa"]
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "a")]
WIDTH, HEADS, LAYERS, BINS, SECONDS = 8, 2, 2, 8, 1.0
ENGLISH = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>")
MULTILINGUAL = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>")
MULTILINGUAL += ("<|notimestamps|>",)


def write_tokenizer(folder: Path, specials=ENGLISH) -> dict[str, int]:
    """Writes a tokenizer.json with all bytes and four merges, and returns the ids of its special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    chars = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    pieces = chars + [piece for piece in LETTERS if piece not in chars]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": len(pieces) + i, "content": name, **flags, "special": True} for i, name in enumerate(specials)]
    content = {
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": [" ".join(pair) for pair in MERGES],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return {token["content"]: token["id"] for token in added}


def write_checkpoint(folder: Path, specials=ENGLISH, dtype=np.float32, times: int = 3) -> dict[str, np.ndarray]:
    """Writes a checkpoint with so many tokens of times, which the tokenizer lacks, and returns its tensors."""
    folder.mkdir()
    ids = write_tokenizer(folder, specials)
    vocab = max(ids.values()) + 1 + times
    config = {
        "model_type": "whisper",
        "activation_function": "gelu",
        "d_model": WIDTH,
        "encoder_layers": LAYERS,
        "encoder_attention_heads": HEADS,
        "encoder_ffn_dim": 2 * WIDTH,
        "decoder_layers": LAYERS,
        "decoder_attention_heads": HEADS,
        "decoder_ffn_dim": 3 * WIDTH,
        "vocab_size": vocab,
        "num_mel_bins": BINS,
        "max_source_positions": round(50 * SECONDS),
        "max_target_positions": 24,
    }
    generation = {
        "suppress_tokens": [3, 5],
        "begin_suppress_tokens": [7, ids["<|endoftext|>"]],
        "is_multilingual": specials == MULTILINGUAL,
        "alignment_heads": [[1, 0], [1, 1]],
    }
    frontend = {"feature_size": BINS, "chunk_length": SECONDS, "n_fft": 400, "hop_length": 160}
    for name, content in (("config", config), ("generation_config", generation), ("preprocessor_config", frontend)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    rng = np.random.default_rng(7)
    tensors = {
        name: (rng.normal(size=shape) * 0.4 + name.endswith("norm.weight")).astype(dtype)
        for name, shape in shapes(vocab).items()
    }
    save_file(tensors, folder / "model.safetensors")
    return tensors


def shapes(vocab: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the tensors by name."""
    found = {
        "encoder.conv1.weight": (WIDTH, BINS, 3),
        "encoder.conv1.bias": (WIDTH,),
        "encoder.conv2.weight": (WIDTH, WIDTH, 3),
        "encoder.conv2.bias": (WIDTH,),
        "encoder.embed_positions.weight": (round(50 * SECONDS), WIDTH),
        "decoder.embed_tokens.weight": (vocab, WIDTH),
        "decoder.embed_positions.weight": (24, WIDTH),
    }
    for part, wide in (("encoder", 2 * WIDTH), ("decoder", 3 * WIDTH)):
        norms = [f"{part}.layer_norm"]
        for layer in range(LAYERS):
            here = f"{part}.layers.{layer}"
            norms += [f"{here}.self_attn_layer_norm", f"{here}.final_layer_norm"]
            norms += [f"{here}.encoder_attn_layer_norm"] * (part == "decoder")
            for attention in ("self_attn", "encoder_attn")[: 1 + (part == "decoder")]:
                for letter in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    found[f"{here}.{attention}.{letter}.weight"] = (WIDTH, WIDTH)
                    if letter != "k_proj":
                        found[f"{here}.{attention}.{letter}.bias"] = (WIDTH,)
            found |= {f"{here}.fc1.weight": (wide, WIDTH), f"{here}.fc1.bias": (wide,)}
            found |= {f"{here}.fc2.weight": (WIDTH, wide), f"{here}.fc2.bias": (WIDTH,)}
        found |= {f"{norm}.{leaf}": (WIDTH,) for norm in norms for leaf in ("weight", "bias")}
    return {f"model.{name}": shape for name, shape in found.items()}
