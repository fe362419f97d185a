"""The cases of `coe bench switch`, measured: every case once per round, on runtimes that stay up throughout.

So no case has the machine's good minutes to itself. Every first token is compared with the same expert's in every other
tier.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from coe.bench.switch.case import Case
from coe.bench.switch.ceilings import Ceilings
from coe.bench.switch.experts import BenchedExperts
from coe.bench.switch.page_cache import drop_from_page_cache
from coe.bench.switch.testbed import Testbed, ask, backends_of, home_of, unload
from coe.errors import ConfigError
from coe.runtime import Runtime
from coe.types import Message, Tier

__all__ = ["Rounds"]

VISITS = 3  # experts that a case visits per round


class Rounds:
    """Every case once per round, on runtimes that stay up throughout."""

    def __init__(self, experts: BenchedExperts, ceilings: Ceilings, device: str, prompt: str) -> None:
        self._distinct, self._sharing, self._device, self._prompt = experts.distinct, experts.sharing, device, prompt
        copy_link = ceilings.pinned_copy or ceilings.memory_copy
        self.resident = Case("device hit")
        self.warm = Case("disk, page cache warm", ceilings.disk_cached)
        self.cold = Case("disk, page cache empty", ceilings.disk_direct)
        kept = _shared_with_others(self._sharing)
        self.shared = Case(f"disk warm, {kept:.0%} shared with a resident", ceilings.disk_cached)
        self.host = Case(f"host hit, {device} copy link", copy_link)
        self.larger = Case(f"twice the {device} device, streaming")
        self.backends: dict[str, str] = {}  # by expert
        self.token_ids: tuple[int, ...] = ()
        self.tokens: dict[str, int] = {}  # each expert's first token
        self.num_compared = self.num_different = 0

    @property
    def cases(self) -> list[Case]:
        """Those that were measured."""
        cases = [self.resident, self.host, self.shared, self.warm, self.cold, self.larger]
        return [case for case in cases if case.first_token_s]

    async def measure(self, num_rounds: int) -> None:
        distinct, home, names = self._distinct, home_of(self._device), self._distinct.names
        num_host, all_shared = min(VISITS, len(names)), self._sharing.fits_all
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            direct = copying = await enter(distinct.runtime(home, fits=2, host_fits=num_host))
            if home != self._device:  # where they are the same, every load takes the copy link
                fits = min(2, len(names) / 2)  # large experts are few
                copying = await enter(distinct.runtime(self._device, fits=fits, host_fits=num_host))
            half = await self._half_a_device(stack)
            sharing = await enter(self._sharing.runtime(home, fits=all_shared, host_fits=all_shared))
            self.backends = backends_of(copying) | backends_of(sharing)
            question = (Message("user", self._prompt),)
            self.token_ids = direct.experts.find(names[0]).text.encode_chat(question)
            for number in range(num_rounds):
                chosen = list(dict.fromkeys(names[(number * VISITS + at) % len(names)] for at in range(VISITS)))
                await self._from_disk(direct, chosen)
                await self._from_device(direct, chosen)
                await self._from_host(copying, chosen)
                await self._shared_from_disk(sharing)
                if half is not None:
                    await self._streamed(half, chosen[0])

    async def _half_a_device(self, stack: AsyncExitStack) -> Runtime | None:
        """A runtime whose device holds half an expert; None where such an expert cannot be run unit by unit."""
        try:
            return await stack.enter_async_context(self._distinct.runtime(self._device, fits=0.5, host_fits=1))
        except ConfigError as error:
            print(f"left out: {self.larger.name}: {error}")
            return None

    async def _from_disk(self, runtime: Runtime, names: Sequence[str]) -> None:
        for name in names:
            await self._timed(runtime, self.cold, name, partial(unload, runtime, names), partial(self._drop, name))
            await self._timed(runtime, self.warm, name, partial(unload, runtime, names), partial(self._read, name))

    async def _from_device(self, runtime: Runtime, names: Sequence[str]) -> None:
        await unload(runtime, self._distinct.names)  # what was asked more often would stay in their place
        for name in names[:2]:
            await runtime.operator.load(name)
        for name in names[:2]:
            await self._ask(runtime, self.resident, name)
        for name in names[:2]:
            self.resident.ready_s.append(await asyncio.wrap_future(runtime.engine.operator.switch_to(name)))

    async def _from_host(self, runtime: Runtime, names: Sequence[str]) -> None:
        for name in names[:2]:  # one to run, one to have been run before
            await runtime.operator.load(name)
        for name in names[:2]:
            await self._timed(runtime, self.host, name, partial(unload, runtime, names, keeps_host=True))
        await unload(runtime, names)

    async def _shared_from_disk(self, runtime: Runtime) -> None:
        for name in self._sharing.names:  # all of them are here: only what differs has to move
            await runtime.operator.load(name)
        for name in self._sharing.names:
            await self._timed(runtime, self.shared, name, partial(unload, runtime, [name]))

    async def _streamed(self, runtime: Runtime, name: str) -> None:
        await ask(runtime, name, self._prompt)  # from the disk to the host, where it stays
        before = runtime.metrics.snapshot().loaded_bytes[Tier.DEVICE]
        answer = await ask(runtime, name, self._prompt, 2)
        self._compare(name, answer.token_ids[0])
        self.larger.first_token_s.append(answer.first_token_s)
        copied = runtime.metrics.snapshot().loaded_bytes[Tier.DEVICE] - before
        self.larger.num_bytes.append(copied // 2)  # two steps
        await unload(runtime, [name], keeps_host=True)

    async def _timed(self, runtime: Runtime, case: Case, name: str, *prepare: Callable[[], Awaitable[None]]) -> None:
        """Time a load alone, then, from the same state, a request's first token."""
        for step in prepare:
            await step()
        missing = runtime.engine.status.missing_bytes(name)
        started_s = time.perf_counter()
        await runtime.operator.load(name)
        case.ready_s.append(time.perf_counter() - started_s)
        case.num_bytes.append(missing)
        for step in prepare:
            await step()
        await self._ask(runtime, case, name)

    async def _ask(self, runtime: Runtime, case: Case, name: str) -> None:
        answer = await ask(runtime, name, self._prompt)
        case.first_token_s.append(answer.first_token_s)
        self._compare(name, answer.token_ids[0])

    def _compare(self, name: str, token_id: int) -> None:
        self.num_compared += 1
        self.num_different += self.tokens.setdefault(name, token_id) != token_id

    async def _drop(self, name: str) -> None:
        drop_from_page_cache(self._distinct.files_of(name))

    async def _read(self, name: str) -> None:
        for file in self._distinct.files_of(name):
            file.read_bytes()


def _shared_with_others(testbed: Testbed) -> float:
    """Return how much of the first expert the others of the testbed have too."""
    first, *others = (expert.manifest for expert in testbed.imported)
    known = {unit.hash for manifest in others for unit in manifest.units}
    return sum(unit.size_bytes for unit in first.units if unit.hash in known) / first.size_bytes
