"""Hotwords: phrases with a bonus per letter, which is taken back when a phrase is not completed.

An automaton of Aho and Corasick reads the letters of the tokens, so a phrase may be split into tokens in any way. A phrase
is matched between spaces or the ends of the transcript: LEMON does not make LEMONADE likelier in the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32

from jaxasr import text
from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.records import END
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class Hotwords:
    """A bonus for phrases: each letter adds `bonus` when it is written; an uncompleted phrase loses what it got.

    A whole phrase inside an uncompleted one keeps its bonus: with NEW YORK CITY and YORK, NEW YORK keeps the bonus of YORK.

    The table takes 8 bytes for each letter of the phrases times each token.

    Raises:
        ValueError: no phrase, an empty one, or one that the tokenizer cannot write.

    Sources: Aho and Corasick 1975; Zhao et al. 2019, "Shallow-fusion end-to-end contextual biasing", sections 3.1 and 3.2.
    """

    tokenizer: Tokenizer
    phrases: tuple[str, ...]
    bonus: float = 0.5  # natural log, a letter
    name: str = "hotwords"

    def __post_init__(self) -> None:
        check_numbers(self)
        if not self.phrases:
            raise ValueError("Hotwords has no phrases; give at least one, or leave Hotwords out")
        for phrase in self.phrases:
            if not phrase.split():
                raise ValueError(f"Hotwords.phrases has {phrase!r}; a phrase needs a letter")
            self.tokenizer.encode(phrase)

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""
        table = automaton(
            tuple(text.piece_texts(self.tokenizer)), tuple(sorted({" ".join(p.split()) for p in self.phrases}))
        )
        goes_nv = jnp.asarray(table.goes_nv)
        earns_nv = self.bonus * jnp.asarray(table.earns_nv)

        def score(memory: Any, node_b: Any, output: DecoderOutput) -> tuple[Array, Any]:
            node_b = jnp.where(output.tokens_b == END, node_b, goes_nv[node_b, output.tokens_b])
            return earns_nv[node_b], node_b

        def upper_bound(memory: Any, node_b: Any, left_b: Array) -> Array:
            widest = jnp.max(jnp.maximum(earns_nv, 0.0))
            return widest * left_b.astype(jnp.float32)

        return ScorerState((), jnp.full(encoded.limits_b.shape[0], table.start, jnp.int32), score, upper_bound)


@dataclass(frozen=True)
class Automaton:
    """An automaton as tables: the next node of each node and token, and the letters (not spaces) gained or taken back."""

    goes_nv: Int32[np.ndarray, "n v"]
    earns_nv: Float32[np.ndarray, "n v"]
    start: int


@lru_cache(maxsize=8)
def automaton(written: tuple[str, ...], phrases: tuple[str, ...]) -> Automaton:
    """Builds the table of the phrases; the end symbol counts as a space and takes back all open letters.

    Args:
        written: of each token (text.piece_texts); that of the end is not read.
    """
    trie = _Trie(f" {phrase} " for phrase in phrases)
    nodes = len(trie.next)
    tokens = len(written)
    goes_nv = np.zeros((nodes, tokens), np.int32)
    earns_nv = np.zeros((nodes, tokens), np.float32)
    for node in range(nodes):
        for token, letters in enumerate(written):
            goes_nv[node, token], earns_nv[node, token] = trie.read(node, letters)
        after, earned = trie.read(node, " ")
        earns_nv[node, END] = earned - trie.debts[after]
    return Automaton(goes_nv, earns_nv, trie.read(0, " ")[0])


class _Trie:
    """The automaton letter by letter. The debt of a node is the number of letters on its path outside completed phrases."""

    def __init__(self, patterns: Iterable[str]):
        self.next: list[dict[str, int]] = [{}]
        self.fails = [0]
        self._depths = [0]
        ends = {self._add(pattern) for pattern in patterns}
        nodes = range(len(self.next))
        self.debts = [0] * len(nodes)
        self.banks = [0] * len(nodes)  # letters that a completed phrase keeps
        owed: list[list[int]] = [[] for _ in nodes]  # the depths of the letters of a debt
        finished = [0] * len(nodes)  # length of the longest phrase that ends a node's path
        for node in sorted(nodes, key=self._depths.__getitem__):
            for letter, child in self.next[node].items():
                self.fails[child] = self.step(self.fails[node], letter) if node else 0
                depth = self._depths[child]
                paid = owed[node] + [depth] * (letter != " ")
                finished[child] = depth if child in ends else finished[self.fails[child]]
                owed[child] = [letter_depth for letter_depth in paid if letter_depth <= depth - finished[child]]
                self.debts[child] = len(owed[child])
                self.banks[child] = len(paid) - len(owed[child])

    def step(self, node: int, letter: str) -> int:
        """Returns the node after one letter."""
        while node and letter not in self.next[node]:
            node = self.fails[node]
        return self.next[node].get(letter, 0)

    def read(self, node: int, letters: str) -> tuple[int, int]:
        """Returns the node after some letters, and the letters gained."""
        earned = 0
        for letter in letters:
            after = self.step(node, letter)
            earned += self.debts[after] - self.debts[node] + self.banks[after]
            node = after
        return node, earned

    def _add(self, pattern: str) -> int:
        node = 0
        for letter in pattern:
            if letter not in self.next[node]:
                self.next[node][letter] = len(self.next)
                self.next.append({})
                self._depths.append(self._depths[node] + 1)
                self.fails.append(0)
            node = self.next[node][letter]
        return node
