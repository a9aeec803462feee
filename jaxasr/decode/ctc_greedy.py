"""Best path decoding of the CTC head. No decoder runs, so it is the cheapest search."""

from dataclasses import dataclass

import jax.numpy as jnp

from jaxasr.ops import ctc, masks
from jaxasr.records import Batch, Decodable, Hypotheses


@dataclass(frozen=True)
class CtcGreedy:
    """The search for the likeliest path of the CTC head, repeats merged and blanks removed; one hypothesis an example.

    The score is the log probability of that one path, not of the transcript. Attention weights have one head and an empty
    axis s.
    """

    def __call__(self, decodable: Decodable, batch: Batch) -> Hypotheses:
        """Returns the best path of each example; padding rows come back empty, and all are finished.

        Raises:
            ValueError: the model has no CTC head.

        Source: Graves et al. 2006, section 3.2.
        """
        start = decodable.start(batch)
        if start.ctc_log_probs_bsv is None:
            raise ValueError(
                "CtcGreedy reads the CTC head and the model has none: give it one, or search with Greedy or Beam"
            )
        log_probs_bsv = start.ctc_log_probs_bsv.astype(jnp.float32)
        lengths_b = jnp.where(batch.valid_b, start.hidden_lengths_b, 0)
        tokens_bu, token_lengths_b = ctc.greedy_collapse(log_probs_bsv, lengths_b)
        valid_bs = masks.valid_from_lengths(lengths_b, log_probs_bsv.shape[1])
        path_b = jnp.sum(jnp.where(valid_bs, jnp.max(log_probs_bsv, axis=-1), 0.0), axis=1)
        return Hypotheses(
            tokens_bwu=tokens_bu[:, None, :],
            token_lengths_bw=token_lengths_b[:, None],
            scores_bw=path_b[:, None],
            log_probs_bw=path_b[:, None],
            weights_buhs=jnp.zeros((*tokens_bu.shape, 1, 0)),
            finished_bw=jnp.ones_like(token_lengths_b[:, None], bool),
        )
