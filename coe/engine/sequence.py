"""A request inside the engine: its tokens, its KV, its sampler and where its events go.

Owned by the engine thread from submission to the end. `sink` is called on that thread with every event, or with the
error that ends the sequence; it must only hand over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coe.engine.detokenizer import Detokenizer
from coe.engine.sampling import Sampler
from coe.engine.step import Kv
from coe.errors import CoeError
from coe.types import Delta, Finished, FinishReason, Switch, SwitchKind, Usage
from coe.weights.lease import Lease

__all__ = ["Sequence", "Sink"]

Sink = Callable[[Delta | Finished | CoeError], None]


@dataclass(slots=True, eq=False)
class Sequence:
    """One request's generation."""

    id: str
    expert: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    eos_ids: frozenset[int]
    sampler: Sampler
    detokenizer: Detokenizer
    sink: Sink
    submitted_s: float
    kv: Kv | None = None
    output_ids: list[int] = field(default_factory=list)
    started_s: float | None = None
    first_token_s: float | None = None
    lease: Lease | None = None  # the one that its first step ran under

    @property
    def num_tokens_max(self) -> int:
        """Tokens that its KV must have room for; the last one sampled is never run."""
        return len(self.prompt_ids) + self.max_tokens - 1

    def next_ids(self, num_tokens: int) -> tuple[int, ...]:
        """The tokens that its next step brings."""
        assert self.kv is not None
        done = self.kv.length
        if done < len(self.prompt_ids):
            return self.prompt_ids[done : done + num_tokens]
        return (self.output_ids[-1],)

    def begin(self, kv: Kv, lease: Lease, now_s: float) -> None:
        self.kv, self.lease, self.started_s = kv, lease, now_s

    def take(self, token_id: int, now_s: float) -> bool:
        """Take a sampled token and send what it adds; True if the sequence has ended with it."""
        if self.first_token_s is None:
            self.first_token_s = now_s
        self.output_ids.append(token_id)
        if token_id in self.eos_ids:
            return self._finish("", FinishReason.STOP)
        text = self.detokenizer.push(token_id)
        if self.detokenizer.is_stopped:
            return self._finish(text, FinishReason.STOP)
        if len(self.output_ids) >= self.max_tokens:
            return self._finish(text, FinishReason.LENGTH)
        self.sink(Delta(text, (token_id,)))
        return False

    def _finish(self, text: str, reason: FinishReason) -> bool:
        text += self.detokenizer.finish()
        self.sink(Delta(text, (self.output_ids[-1],)))
        usage = Usage(len(self.prompt_ids), len(self.output_ids))
        self.sink(Finished(reason, usage, self._switch()))
        return True

    def _switch(self) -> Switch:
        assert self.started_s is not None
        assert self.first_token_s is not None
        lease = self.lease
        # a lease outlives a request: what it moved before this one came is not this one's cost
        if lease is None or lease.ended_s is None or lease.ended_s <= self.submitted_s:
            kind, loaded_bytes, load_s = SwitchKind.DEVICE_HIT, 0, 0.0
        else:
            kind, loaded_bytes, load_s = lease.kind, lease.loaded_bytes, lease.load_s
        return Switch(
            kind=kind,
            loaded_bytes=loaded_bytes,
            load_s=load_s,
            wait_s=self.started_s - self.submitted_s,
            first_token_s=self.first_token_s - self.submitted_s,
        )
