"""An operator's view of a runtime, and an operator's commands: load, unload, pin, unpin, drain."""

from __future__ import annotations

import asyncio

from coe.engine.loop import Engine
from coe.experts import Experts, PooledExpert, ServedExpert
from coe.lifecycle import Lifecycle
from coe.statuses import ExpertStatus, StoreStatus
from coe.telemetry.events import Pinned
from coe.telemetry.hub import Publish
from coe.types import Tier
from coe.weights.store.unit_store import UnitStore

__all__ = ["Operator"]


class Operator:
    """Methods about one expert take its name or alias, and raise UnknownExpertError or the expert's own error."""

    def __init__(self, experts: Experts, engine: Engine, store: UnitStore, life: Lifecycle, publish: Publish) -> None:
        self._experts, self._engine, self._store = experts, engine, store
        self._life, self._publish = life, publish

    def experts(self) -> list[ExpertStatus]:
        """Return every expert of the catalogue, those that could not be had last, with their error."""
        served = [self._status(expert) for expert in self._experts.all_kinds]
        return served + [_absent(name, str(error)) for name, error in self._experts.errors.items()]

    async def store(self) -> StoreStatus:
        """Return what the unit store takes on disk; looks at every file there."""
        return StoreStatus(str(self._store.folder), await asyncio.to_thread(self._store.disk_bytes))

    async def load(self, expert: str) -> None:
        """Bring an expert to the device; returns when all of it is there. Raises WeightsError where it does not fit."""
        await asyncio.wrap_future(self._engine.operator.load(self._name(expert)))

    async def unload(self, expert: str) -> None:
        """Free an expert's memory in every tier, except what others share and what runs."""
        await asyncio.wrap_future(self._engine.operator.unload(self._name(expert)))

    async def pin(self, expert: str) -> None:
        """Load an expert and keep it."""
        name = self._name(expert)
        await asyncio.wrap_future(self._engine.operator.pin(name))
        self._publish(Pinned(name, is_pinned=True))
        await asyncio.wrap_future(self._engine.operator.load(name))

    async def unpin(self, expert: str) -> None:
        """Let an expert be evicted when others need the room."""
        name = self._name(expert)
        await asyncio.wrap_future(self._engine.operator.unpin(name))
        self._publish(Pinned(name, is_pinned=False))

    def drain(self) -> int:
        """Take no more requests; returns how many are running, which come to their end."""
        self._life.stop_accepting()
        return self._life.num_running

    def _name(self, word: str) -> str:
        return self._experts.loaded(word).name

    def _status(self, expert: ServedExpert | PooledExpert) -> ExpertStatus:
        name, manifest, status = expert.loaded.name, expert.loaded.manifest, self._engine.status
        return ExpertStatus(
            name=name,
            kind=expert.kind,
            aliases=expert.aliases,
            source=manifest.source,
            backend=expert.loaded.model.backend,
            dtype=manifest.dtype,
            num_parameters=manifest.num_parameters,
            num_requests=status.num_requests(name),
            last_used_s=status.idle_s(name),
            units=status.unit_statuses(name),
            error=status.error(name),
            breaker=status.breaker(name),
            notes=expert.notes,
            context=expert.context,
            description=self._experts.descriptions.get(name, ""),
            tool_calls=expert.text.answer_form.calls if isinstance(expert, ServedExpert) else "",
            **status.residency(name)._asdict(),
        )


def _absent(name: str, error: str) -> ExpertStatus:
    return ExpertStatus(
        name=name,
        aliases=(),
        source="",
        backend="",
        dtype="",
        num_parameters=0,
        size_bytes=0,
        shared_bytes=0,
        host_bytes=0,
        device_bytes=0,
        tier=Tier.DISK,
        is_pinned=False,
        is_streaming=False,
        num_leases=0,
        num_requests=0,
        num_loads=0,
        loaded_bytes=0,
        load_s=0.0,
        last_used_s=None,
        units=(),
        error=error,
        breaker="closed",
    )
