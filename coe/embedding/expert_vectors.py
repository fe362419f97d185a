"""Vectors and scores by experts: their texts go through the engine as requests do, a few at a time.

An expert's texts wait in its queue, under its deadline, beside those of other clients; no request has more than
IN_FLIGHT of them there. Knows nothing about tokens of text or HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from coe.embedding.requests import RerankRequest, Text, TextKind
from coe.engine.events import Cancel, Hint, Submit
from coe.engine.loop import Engine
from coe.engine.pooled_sequence import Pooled, PooledSequence
from coe.errors import CoeError
from coe.experts import PooledExpert
from coe.lifecycle import Lifecycle
from coe.routing import TextWorker
from coe.text.pooled_text import PairTokens
from coe.types import Admitted

__all__ = ["IN_FLIGHT", "ExpertVectors"]

IN_FLIGHT = 16  # texts of one request in the engine
PIECE_TEXTS = 16  # that are tokenised before others have their turn

_Answer = Admitted | Pooled | CoeError


class ExpertVectors:
    """One expert and one request, whose sequences are named after `request_id`; see `embeddings.VectorSource`."""

    def __init__(
        self, expert: PooledExpert, request_id: str, engine: Engine, life: Lifecycle, worker: TextWorker
    ) -> None:
        self.name, self.num_dims = expert.loaded.name, expert.num_dims
        self._expert, self._request_id = expert, request_id
        self._engine, self._life, self._worker = engine, life, worker
        self._num_sent = 0

    async def token_ids(
        self, texts: Sequence[Text], kind: TextKind | None, truncate_to: int | None, param: str
    ) -> list[tuple[int, ...]]:
        self._engine.post(Hint(self.name))
        text, limits = self._expert.text, self._expert.limits

        def read(some: Sequence[Text]) -> list[tuple[int, ...]]:
            return [text.read(each, kind, limits, truncate_to, param) for each in some]

        return [
            ids
            for start in range(0, len(texts), PIECE_TEXTS)
            for ids in await self._worker.run_embedding(read, texts[start : start + PIECE_TEXTS])
        ]

    async def vectors(self, ids: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        return np.stack(await self._read([PairTokens(each) for each in ids]))

    async def pair_ids(self, request: RerankRequest) -> list[PairTokens]:
        """Return the tokens of the query with each document."""
        self._engine.post(Hint(self.name))
        text, limits = self._expert.text, self._expert.limits

        def read(some: Sequence[str]) -> list[PairTokens]:
            return [text.read_pair(request.query, each, limits, request.truncate_to) for each in some]

        return [
            pair
            for start in range(0, len(request.documents), PIECE_TEXTS)
            for pair in await self._worker.run_embedding(read, request.documents[start : start + PIECE_TEXTS])
        ]

    async def scores(self, pairs: Sequence[PairTokens]) -> tuple[float, ...]:
        return tuple(float(values[0]) for values in await self._read(pairs))

    async def _read(self, texts: Sequence[PairTokens]) -> list[NDArray[np.float32]]:
        """Run all texts, IN_FLIGHT at a time; if one fails, all end."""
        found: list[NDArray[np.float32]] = []
        for start in range(0, len(texts), IN_FLIGHT):
            found += await self._read_some(texts[start : start + IN_FLIGHT])
        return found

    async def _read_some(self, texts: Sequence[PairTokens]) -> list[NDArray[np.float32]]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[NDArray[np.float32]]] = [loop.create_future() for _ in texts]
        sequences = [self._sequence(text, _sink_of(future, loop)) for text, future in zip(texts, futures, strict=True)]

        def end(error: CoeError) -> None:
            for future in futures:
                _take(future, error)

        try:
            with self._life.heard(end):
                for sequence in sequences:
                    self._engine.post(Submit((sequence,)))
                return list(await asyncio.gather(*futures))
        finally:
            for sequence, future in zip(sequences, futures, strict=True):
                if not future.done() or future.cancelled():
                    future.cancel()
                    self._engine.post(Cancel(sequence.id))
                elif not future.cancelled():
                    future.exception()  # is raised for the first one alone

    def _sequence(self, text: PairTokens, sink: Callable[[_Answer], object]) -> PooledSequence:
        self._num_sent += 1
        return PooledSequence(
            f"{self._request_id}/{self._num_sent}",
            self.name,
            text.token_ids,
            sink,
            time.monotonic(),
            text.second_from,
        )


def _sink_of(
    future: asyncio.Future[NDArray[np.float32]], loop: asyncio.AbstractEventLoop
) -> Callable[[_Answer], object]:
    """Return what hands the engine's answers over to the event loop."""
    return lambda answer: loop.call_soon_threadsafe(_take, future, answer)


def _take(future: asyncio.Future[NDArray[np.float32]], answer: _Answer) -> None:
    if future.done() or isinstance(answer, Admitted):
        return
    if isinstance(answer, Pooled):
        future.set_result(answer.values)
    else:
        future.set_exception(answer)
