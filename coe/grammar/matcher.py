"""Which tokens one answer may go on with, computed beside the forward pass that comes before they are needed.

A matcher takes in each token of its answer once, whatever is prefilled again: it counts them. What it has to do runs on
a small pool of threads, without Python's lock, from the moment a token is chosen; whoever samples the next one waits
for it. Knows nothing about logits.

An end token is allowed exactly where the grammar may end. Before `min_tokens`, and always with `ignores_eos`, it is
allowed only where nothing else may follow: a grammar that is over ends its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future

import numpy as np
from llguidance import LLMatcher
from llguidance.numpy import fill_next_token_bitmask
from numpy.typing import NDArray

from coe.errors import InvalidRequestError

__all__ = ["CompiledGrammar", "Matcher", "reason_of"]

REASON_CHARS = 200
MAX_WAIT_S = 2.0  # for a mask; the library's limits end one sooner, and this is for what they overlook


def reason_of(matcher: LLMatcher) -> str:
    """Return why a matcher of the library has failed, in one line; of a long reason the beginning and the end."""
    said = " ".join(matcher.get_error().removesuffix("<non-verbose/>").split())
    return said if len(said) <= 2 * REASON_CHARS else f"{said[:REASON_CHARS]} ... {said[-REASON_CHARS:]}"


class CompiledGrammar:
    """A grammar for one tokenizer, from which each answer gets a matcher of its own.

    `ends` has the bits of the tokens that end an answer, `param` is the field of the request that asks for it.
    """

    def __init__(self, prototype: LLMatcher, ends: NDArray[np.int32], param: str, pool: Executor) -> None:
        self._prototype, self._ends, self._param, self._pool = prototype, ends, param, pool

    def matcher(self, min_tokens: int = 0, *, ignores_eos: bool = False) -> Matcher:
        """Return the matcher of one answer, which begins at once."""
        return Matcher(self._prototype, self._ends, self._param, self._pool, min_tokens, ignores_eos=ignores_eos)


class Matcher:
    """Asked by one thread. A mask is packed, (words,) int32: bit i % 32 of word i // 32 is set where token i may come.

    It must not be changed, and counts until the next token is taken in.
    """

    def __init__(
        self,
        prototype: LLMatcher,
        ends: NDArray[np.int32],
        param: str,
        pool: Executor,
        min_tokens: int = 0,
        *,
        ignores_eos: bool = False,
    ) -> None:
        self._ends, self._param, self._pool = ends, param, pool
        self._min_tokens, self._ignores_eos = min_tokens, ignores_eos
        self._mask = np.zeros_like(ends)
        self._num_taken = 0
        self._next: Future[InvalidRequestError | None] = pool.submit(self._begin, prototype)

    def take(self, output_ids: Sequence[int]) -> None:
        """Take in what is new in the output, and begin to compute what may follow; the last mask must have been
        asked for."""
        new_ids = list(output_ids[self._num_taken :])
        if new_ids:
            self._num_taken += len(new_ids)
            self._next = self._pool.submit(self._go_on, new_ids, self._num_taken)

    def failure(self) -> InvalidRequestError | None:
        """Wait for the mask; returns why there is none: the grammar has become too complex, or no token fits."""
        try:
            return self._next.result(MAX_WAIT_S)
        except TimeoutError:
            return self._failed(f"it takes more than {MAX_WAIT_S:g} s to find what may follow")

    def mask(self) -> NDArray[np.int32]:
        """Wait for the mask and return it; only where there is no `failure`."""
        assert self._next.result() is None
        return self._mask

    # -- on the pool

    def _begin(self, prototype: LLMatcher) -> InvalidRequestError | None:
        self._matcher = prototype.deep_copy()
        return self._fill(0)

    def _go_on(self, new_ids: list[int], num_tokens: int) -> InvalidRequestError | None:
        self._matcher.consume_tokens(new_ids)
        return self._fill(num_tokens)

    def _fill(self, num_tokens: int) -> InvalidRequestError | None:
        fill_next_token_bitmask(self._matcher, self._mask[None])
        if self._matcher.is_error():
            return self._failed(reason_of(self._matcher))
        if self._ignores_eos or num_tokens < self._min_tokens:
            others = self._mask & ~self._ends
            if others.any():
                self._mask[:] = others
        return None

    def _failed(self, why: str) -> InvalidRequestError:
        message = f"the answer cannot go on in the form that was asked: {why}; ask for a simpler one"
        return InvalidRequestError(message, param=self._param)
