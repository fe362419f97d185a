"""Grammars compiled for the tokenizers of experts: when, on which threads, and how many are kept.

A table of tokens is made at the first grammar for an expert and shared by experts with the same tokenizer. Compiling
runs on one thread of its own, so that a slow grammar holds up neither the event loop nor the masks of others, under
limits of the library, which counts work and not seconds. Owned by one event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from llguidance import LLMatcher, LLParserLimits

from coe.errors import InvalidRequestError
from coe.grammar.matcher import CompiledGrammar, reason_of
from coe.grammar.source import Lead, param_of, written
from coe.grammar.token_table import TokenTable, digest_of, token_table
from coe.machine.allowance import usable_cpus
from coe.text.templates import ExpertText
from coe.types import Grammar, ThoughtMarks

__all__ = ["Grammars"]

T = TypeVar("T")

MAX_COMPILED = 256
MAX_MASK_THREADS = 4
# 20 ms of one core to begin with and 14 a mask for the lexer, 100 a mask for the most ambiguous grammar; a state of the
# lexer takes 1 to 2 kB
LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=5_000,
    max_items_in_row=1_000,
    max_lexer_states=50_000,
    max_grammar_size=200_000,
    verbose_errors=False,
)


class _Key(NamedTuple):
    digest: bytes
    grammar: Grammar
    marks: ThoughtMarks | None
    is_thinking: bool
    is_continued: bool
    opening: str


class Grammars:
    """Compiles what requests ask for and keeps the last ones. `close` ends its threads."""

    def __init__(self, max_compiled: int = MAX_COMPILED) -> None:
        self._max_compiled = max_compiled
        self._compiling = ThreadPoolExecutor(1, "coe-grammar")
        self._masking = ThreadPoolExecutor(max(1, min(MAX_MASK_THREADS, usable_cpus() // 2)), "coe-mask")
        self._digests: dict[str, Future[bytes]] = {}
        self._tables: dict[bytes, TokenTable] = {}  # the compiling thread's
        self._compiled: OrderedDict[_Key, Future[CompiledGrammar]] = OrderedDict()

    async def compiled(
        self,
        grammar: Grammar,
        text: ExpertText,
        marks: ThoughtMarks | None = None,
        *,
        is_thinking: bool = False,
        is_continued: bool = False,
    ) -> CompiledGrammar:
        """Return a grammar for an expert's tokens, after what it thinks where `marks` say how that is written.

        `is_continued` if the answer goes on with the prompt's text. Raises InvalidRequestError, which names what cannot
        be done.
        """
        if text.expert not in self._digests:
            self._digests[text.expert] = self._compiling.submit(digest_of, text)
        digest = await _done(self._digests[text.expert])
        opening = "" if marks is None or is_continued else text.answer_form.opening
        key = _Key(digest, grammar, marks, is_thinking, is_continued, opening)
        if key not in self._compiled:
            self._compiled[key] = self._compiling.submit(self._compile, key, text)
        self._compiled.move_to_end(key)
        while len(self._compiled) > self._max_compiled:
            self._compiled.popitem(last=False)
        found = self._compiled[key]
        try:
            return await _done(found)
        except InvalidRequestError as error:
            if self._compiled.get(key) is found:
                del self._compiled[key]
            raise InvalidRequestError(*error.args, param=error.param) from None  # one instance for each request

    @property
    def num_compiled(self) -> int:
        return len(self._compiled)

    def close(self) -> None:
        """Take no more grammars; what is under way ends within its limits."""
        self._compiling.shutdown(wait=False, cancel_futures=True)
        self._masking.shutdown(wait=False)

    # -- on the compiling thread

    def _compile(self, key: _Key, text: ExpertText) -> CompiledGrammar:
        table = self._tables.get(key.digest)
        if table is None:
            table = self._tables[key.digest] = token_table(text)
        marks = "" if key.marks is None else "\n".join((key.marks.opening, key.marks.closing, key.opening))
        mark_ids = tuple((token, token_id) for token, token_id in table.control.items() if token in marks)
        has_blank = table.strips_blank and not key.is_continued
        lead = Lead(key.marks, key.is_thinking, mark_ids, has_blank, key.opening)
        source = written(key.grammar, lead)
        prototype, param = LLMatcher(table.library, source, log_level=0, limits=LIMITS), param_of(key.grammar)
        trial = prototype.deep_copy()  # the prototype keeps no states of the lexer
        trial.compute_bitmask()
        if trial.is_error():
            why = f"{reason_of(trial)}; write it without that"
            raise InvalidRequestError(f"the {key.grammar.kind} of this request cannot be used: {why}", param=param)
        return CompiledGrammar(prototype, table.ends, param, self._masking)


async def _done(future: Future[T]) -> T:
    """Return what a future has, without a turn of the loop where it is there; one that stops waiting ends nothing."""
    return future.result() if future.done() else await asyncio.shield(asyncio.wrap_future(future))
