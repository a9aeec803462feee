"""N-gram models of words over tokens that spell them: the score of a word comes with the token that ends it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxasr.ops.edit_distance import Spelling
from jaxasr.ops.ngram.backoff import END, Backoff, laid_out
from jaxasr.ops.ngram.contexts import contexts_of
from jaxasr.text.ngram import BEGIN, STOP, NGram


class WordPrefix(NamedTuple):
    """The words and letters that a hypothesis has spelt so far."""

    contexts_b: Int[Array, " b"]  # after its last whole word
    hashes_b: UInt32[Array, " b"]  # of the letters of the word it is about, as in Spelling; 0: none yet
    nexts_b: Int[Array, " b"]  # the context after that word, should it end here


class WordBackoff(NamedTuple):
    """An n-gram model of words over characters or pieces (records.LanguageModel).

    A token that begins a word gets the log probability of the word before it, as far as that was spelt; the end gets that
    and the one of </s>; any other token gets 0. So the sum over a whole hypothesis is the model's log probability of its
    words, but on the way it comes in lumps: what is within a word has not paid for it yet, and the beam has to be wide
    enough (or a model of tokens to be fused as well) to bear it. Over the tokens the scores are no distribution.

    A word that the model does not know is <unk>. Words are told by 32-bit hashes of their letters: of two that share one,
    the likelier stands for both, and one unknown word in 2^32 / words is taken for one that is known. A step costs a
    bisection for each order, three times; memory is 12 bytes an n-gram and 16 a word.
    """

    words: Backoff  # the tokens of which are words
    spelling: Spelling
    hashes_k: UInt32[Array, " k"]  # of the words that can be spelt, rising
    words_k: Int[Array, " k"]
    unknown: Int[Array, ""]
    stop: Int[Array, ""]  # negative: the end adds nothing of its own

    @property
    def vocab(self) -> int:
        """Tokens, the end included."""
        return self.spelling.hash_v.shape[0]

    def start(self, examples: int) -> WordPrefix:
        """Returns the state of an empty prefix."""
        contexts_b = self.words.start(examples)
        return WordPrefix(contexts_b, jnp.zeros(examples, jnp.uint32), contexts_b)

    def step(self, state: WordPrefix, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], WordPrefix]:
        """Returns the log probability that each next token adds, and the states. END always begins a sentence."""
        begins_b = self.spelling.begins_v[tokens_b]
        ends_b = tokens_b == END
        contexts_b = jnp.where(begins_b, state.nexts_b, state.contexts_b)
        contexts_b = jnp.where(ends_b, self.words.begin, contexts_b)
        kept_b = jnp.where(begins_b, jnp.uint32(0), state.hashes_b * self.spelling.power_v[tokens_b])
        hashes_b = jnp.where(ends_b, jnp.uint32(0), kept_b + self.spelling.hash_v[tokens_b])

        spells_b = hashes_b != 0
        word = self.words.look_up(contexts_b, self._word_of(hashes_b))
        word_b = jnp.where(spells_b, word.log_probs_b, 0.0)
        nexts_b = jnp.where(spells_b, word.contexts_b, contexts_b)
        stops_b = jnp.broadcast_to(jnp.maximum(self.stop, 0), nexts_b.shape)
        end_b = jnp.where(self.stop < 0, 0.0, self.words.look_up(nexts_b, stops_b).log_probs_b)
        added_bv = jnp.where(self.spelling.begins_v[None, :], word_b[:, None], 0.0)
        return added_bv.at[:, END].set(word_b + end_b), WordPrefix(contexts_b, hashes_b, nexts_b)

    def without_eos(self) -> "WordBackoff":
        """Returns the same model without what it says of the end of a sentence: the end only pays for the word before it."""
        return self._replace(stop=jnp.full_like(self.stop, -1))

    def _word_of(self, hashes_b: UInt32[Array, " b"]) -> Int[Array, " b"]:
        places_b = jnp.minimum(jnp.searchsorted(self.hashes_k, hashes_b), self.hashes_k.shape[0] - 1)
        return jnp.where(self.hashes_k[places_b] == hashes_b, self.words_k[places_b], self.unknown)


def word_backoff(model: NGram, spelling: Spelling, hashes: UInt32[np.ndarray, " words"]) -> WordBackoff:
    """Returns the model on the device, as one of words that tokens spell.

    Args:
        spelling: of the tokens.
        hashes: of the letters of each of the model's words, made as the spelling makes them.

    Raises:
        ValueError: the model has no </s>, or no other word.
    """
    spelt = _spelt(model)
    if STOP not in model.ids or not spelt.any():
        raise ValueError(f"a model of words needs {STOP} and at least one word, this one has {model.words[:5]}")
    likely_first = np.lexsort((-model.orders[0].log10_probs, hashes))
    likely_first = likely_first[spelt[likely_first]]
    found, firsts = np.unique(hashes[likely_first], return_index=True)
    # behind the words there is one that no model has: what is unknown where there is no <unk>
    tokens = np.append(np.arange(len(model.words)), -1)
    return WordBackoff(
        words=laid_out(contexts_of(model), tokens, row_bytes=0),
        spelling=spelling,
        hashes_k=jnp.asarray(found),
        words_k=jnp.asarray(likely_first[firsts], jnp.int32),
        unknown=jnp.int32(model.unknown % len(tokens)),
        stop=jnp.int32(model.ids[STOP]),
    )


def _spelt(model: NGram) -> Bool[np.ndarray, " words"]:
    """Returns True where a word is one of letters."""
    return np.array([word not in (BEGIN, STOP) and i != model.unknown for i, word in enumerate(model.words)], np.bool_)
