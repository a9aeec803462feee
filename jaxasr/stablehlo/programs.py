"""The programs of a recogniser for processes without this package: encoder, decoder step and whole search.

Arguments and results are arrays in dictionaries, so a reader needs no class of this package.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.errors import InconclusiveDimensionOperation
from jax.export import Exported, export, symbolic_shape
from jaxtyping import Array, Int, Int16

from jaxasr import nn
from jaxasr.decode import MaxTokens, Search
from jaxasr.decode.search import encode_batch
from jaxasr.records import Batch

Arrays = Mapping[str, Any]  # arrays by name, or dictionaries of them
PLATFORMS = ("cpu", "cuda", "tpu")


def programs_of(
    model: nn.Seq2Seq,
    variables: Any,
    search: Search,
    *,
    samples: int,
    examples: int | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> dict[str, Exported]:
    """Returns the programs "encode", "step" and "search" of a recogniser, without noise, masks and dropout.

    * encode(params, wave_bn, sample_lengths_b) returns hidden_lengths_b, memory, state and, with a CTC head,
      ctc_log_probs_bsv
    * step(params, memory, state, tokens_b) returns log_probs_bv, weights_bhs and state; the first token is 0
    * search(params, wave_bn, sample_lengths_b) returns tokens_bu, token_lengths_b, log_probs_b and finished_b

    Args:
        model: the model.
        variables: its variables. The programs take them as `params`, by path (`by_path`).
        search: the search of "search". The state of "encode" has room for as many tokens as the search may write.
        samples: the samples of a wave, padding included.
        examples: the rows of a batch; None: any number of them, the symbolic dimension b.
        platforms: the platforms that the programs run on.

    Raises:
        ValueError: a part cannot be exported; the error names it.
    """
    forms = _Forms(model, jax.tree.structure(variables), search)
    params = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in by_path(variables).items()}
    b: Any = symbolic_shape("b")[0] if examples is None else examples
    wave = jax.ShapeDtypeStruct((b, samples), jnp.int16)
    lengths = jax.ShapeDtypeStruct((b,), jnp.int32)

    def exported(name: str, form: Callable[..., Any], *args: Any) -> Exported:
        try:
            return export(jax.jit(form), platforms=platforms)(*args)
        except (ValueError, TypeError, NotImplementedError, InconclusiveDimensionOperation) as error:
            cause = str(error).strip().partition("\n")[0]
            parts = f"{type(model.encoder).__name__}, {type(model.decoder).__name__} and {type(search).__name__}"
            hint = "" if examples else ". A fixed number of rows may help: --batch-size N"
            raise ValueError(f"the program {name!r} of {parts} cannot be exported: {cause}{hint}") from error

    encode = exported("encode", forms.encode, params, wave, lengths)
    encoded = jax.tree.unflatten(
        encode.out_tree, [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in encode.out_avals]
    )
    return {
        "encode": encode,
        "step": exported("step", forms.step, params, encoded["memory"], encoded["state"], lengths),
        "search": exported("search", forms.search, params, wave, lengths),
    }


def by_path(node: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by path, such as "params/encoder/block_0/kernel"."""
    paths, _ = jax.tree_util.tree_flatten_with_path(node)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


class _Forms:
    """The programs as functions of arrays."""

    def __init__(self, model: nn.Seq2Seq, variables: Any, search: Search):
        self._model = model
        self._variables = variables  # the structure of the tree
        self._search = search
        self._structures: dict[str, tuple[Any, list[str]]] = {}  # of memory and state, with the names of their leaves

    def encode(self, params: Arrays, wave_bn: Int16[Array, "b n"], sample_lengths_b: Int[Array, " b"]) -> Arrays:
        """Returns the encoded batch: the constant inputs of the decoder, and its state before the first token."""
        most = getattr(self._search, "max_tokens", MaxTokens())
        start = encode_batch(self._recogniser(params), _batch(wave_bn, sample_lengths_b), most).start
        encoded: dict[str, Any] = {"hidden_lengths_b": start.hidden_lengths_b}
        for name, tree in (("memory", start.memory), ("state", start.state)):
            encoded[name] = by_path(tree)
            self._structures[name] = (jax.tree.structure(tree), list(encoded[name]))
        if start.ctc_log_probs_bsv is not None:
            encoded["ctc_log_probs_bsv"] = start.ctc_log_probs_bsv
        return encoded

    def step(self, params: Arrays, memory: Arrays, state: Arrays, tokens_b: Int[Array, " b"]) -> Arrays:
        """Returns the log probabilities of the next token, the attention weights, and the state behind the step."""
        step = self._recogniser(params).step(self._tree("memory", memory), self._tree("state", state), tokens_b)
        return {
            "log_probs_bv": step.log_probs_bv.astype(jnp.float32),
            "weights_bhs": step.weights_bhs.astype(jnp.float32),
            "state": by_path(step.state),
        }

    def search(self, params: Arrays, wave_bn: Int16[Array, "b n"], sample_lengths_b: Int[Array, " b"]) -> Arrays:
        """Returns the best hypothesis of each wave."""
        found = self._search(self._recogniser(params), _batch(wave_bn, sample_lengths_b))
        return {
            "tokens_bu": found.tokens_bwu[:, 0],
            "token_lengths_b": found.token_lengths_bw[:, 0],
            "log_probs_b": found.log_probs_bw[:, 0],
            "finished_b": found.finished_bw[:, 0],
        }

    def _recogniser(self, params: Arrays) -> nn.Recogniser:
        like = by_path(jax.tree.unflatten(self._variables, range(self._variables.num_leaves)))
        return nn.Recogniser(self._model, jax.tree.unflatten(self._variables, [params[path] for path in like]))

    def _tree(self, name: str, leaves: Arrays) -> Any:
        structure, names = self._structures[name]
        return jax.tree.unflatten(structure, [leaves[path] for path in names])


def _batch(wave_bn: Int16[Array, "b n"], sample_lengths_b: Int[Array, " b"]) -> Batch:
    """Returns a batch without transcripts. A row of length 0 is padding."""
    none_b = jnp.zeros_like(sample_lengths_b)
    return Batch(
        wave_bn=wave_bn,
        sample_lengths_b=sample_lengths_b,
        tokens_bu=none_b[:, None],
        token_lengths_b=none_b,
        ids_b=none_b.astype(jnp.uint32),
        valid_b=sample_lengths_b > 0,
    )
