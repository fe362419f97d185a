"""One exception in each public method of the serving path in turn, raised once while requests run.

Whatever raises, every request is answered once, and readiness tells the truth: either the server is ready, its books
balance and later requests get the same tokens as before, or it says that it is not, why, and later requests hear the
same. Which methods there are is found by introspection; those that the load reaches are tried at the first call and at
a later one, with exceptions of several kinds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import proofs
import pytest
from compositions import integrity, write_config
from http_answers import check_answered_once, texts_of
from router_fakes import FakeEncoder, fake_artefact
from seams import Fault, Panic, Seam, counted, seams

from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.runtime import Runtime
from router.directory import Directory
from router.policy import RoutingPolicy
from router.router import Router
from server.app import create_app

ROOMS = ("coe", "router")
NOT_TRIED = ("check_integrity",)  # the proof's own
NUM_SAMPLED = 40
LIMIT_S = 60.0  # against hanging
REASON = re.compile("an injected fault|StopIteration")  # a generator makes an error of its own from the latter
KINDS: tuple[Callable[[str], BaseException], ...] = (RuntimeError, KeyError, OSError, MemoryError, StopIteration, Panic)
EXPERTS = ("llama", "other", "gpt2")


class Ask(NamedTuple):
    method: str
    path: str
    body: dict[str, Any] | None = None


def chat(model: str, prompt: str, **more: Any) -> Ask:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    settings = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 12}
    return Ask("POST", "/v1/chat/completions", settings | more)


def complete(model: str, prompt: str, **more: Any) -> Ask:
    settings = {"model": model, "prompt": prompt, "temperature": 0, "max_tokens": 12}
    return Ask("POST", "/v1/completions", settings | more)


LONG = "The quick brown fox jumps over the lazy dog. " * 5
LOAD = (
    chat("llama", "hello", stream=True),
    chat("other", "What is the capital of France?", stop=["zzz"], logprobs=True, top_logprobs=2),
    chat("gpt2", LONG, stream=True),
    chat("coe", "sum of three and four", stream=True),
    chat("coe", "select a name"),
    chat("coe", "@other hello", n=2, temperature=0.8, seed=3, top_p=0.9, repetition_penalty=1.2),
    complete("llama", LONG, echo=True, logprobs=1, stream=True),
    complete("other", LONG, min_p=0.1, top_k=5, temperature=0.7, seed=1, presence_penalty=0.5, logit_bias={"9": 1}),
    Ask("POST", "/v1/route", {"messages": [{"role": "user", "content": "select all"}]}),
    Ask("POST", "/admin/experts/gpt2/pin"),
    Ask("POST", "/admin/experts/llama/unload"),
    Ask("POST", "/admin/experts/other/load"),
    Ask("POST", "/admin/experts/gpt2/unpin"),
    Ask("GET", "/admin/experts"),
    Ask("GET", "/metrics"),
)
ANSWERED = tuple(ask for ask in LOAD if ask.path.startswith("/v1/c"))
NAMED = tuple(ask for ask in ANSWERED if ask.body is not None and ask.body["model"] != "coe")


class Case(NamedTuple):
    seam: Seam
    call: int
    kind: Callable[[str], BaseException]

    def name(self) -> str:
        """What does not depend on how often the load happens to call it."""
        return f"{self.seam.name}, {'the first call' if self.call == 1 else 'a later call'}"

    def __str__(self) -> str:
        return f"{self.seam.name}, call {self.call}, {self.kind.__name__}"  # type: ignore[attr-defined]


class Proof:
    """A configuration of three experts with memory for two, and what it answers without a fault."""

    def __init__(self, config_file: Path) -> None:
        self._config = load_config(config_file)
        self.expected = asyncio.run(self._alone())

    async def tried(self, case: Case) -> str:
        """Return how a case ended: not reached, served, or said so; raises AssertionError where it ended wrongly."""
        fault = Fault(case.call, case.kind("an injected fault"))
        with case.seam.wrapped(fault):
            runtime, client = await self._started()
            try:
                async with asyncio.timeout(LIMIT_S):
                    return await self._under_load(fault, runtime, client)
            finally:
                await runtime.close(timeout_s=LIMIT_S)

    async def _under_load(self, fault: Fault, runtime: Runtime, client: httpx.AsyncClient) -> str:
        fault.is_armed = True
        answers = await together(client)
        fault.is_armed = False
        for ask, answer in zip(LOAD, answers, strict=True):
            check_answered_once(answer, (ask.body or {}).get("n", 1))
        return await self._truthful(runtime, client) if fault.has_fired else "not reached"

    async def counts(self, found: list[Seam]) -> dict[str, int]:
        """Return how often the load calls each seam."""
        with counted(found) as numbers:
            runtime, client = await self._started()
            before = {name: number[0] for name, number in numbers.items()}
            await together(client)
            after = {name: number[0] - before[name] for name, number in numbers.items()}
            await runtime.close(timeout_s=LIMIT_S)
        return after

    async def _alone(self) -> list[tuple[Ask, dict[int, str]]]:
        runtime, client = await self._started()
        expected = [(ask, texts_of(await sent(client, ask))) for ask in ANSWERED]
        for ask, answer in zip(LOAD, await together(client), strict=True):
            assert answer.status_code == 200 or ask.path.startswith("/admin"), (ask, answer.text)
        await integrity(runtime)
        await runtime.close(timeout_s=LIMIT_S)
        return expected

    async def _started(self) -> tuple[Runtime, httpx.AsyncClient]:
        names = {name: name for name in EXPERTS}
        policy = RoutingPolicy(Directory(names, "llama"), {"math": "other", "sql": "gpt2"})
        runtime = build_runtime(self._config, Router(fake_artefact(), FakeEncoder(), policy))
        await runtime.start()
        transport = httpx.ASGITransport(create_app(runtime), raise_app_exceptions=False)
        return runtime, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async def _truthful(self, runtime: Runtime, client: httpx.AsyncClient) -> str:
        ready = await client.get("/ready")
        if ready.status_code == 200:
            await integrity(runtime)
            for name in EXPERTS:  # an unpin that failed has left its pin, and a load closes the expert's breaker
                await client.post(f"/admin/experts/{name}/unpin")
                await client.post(f"/admin/experts/{name}/load")
            for ask, texts in self.expected:
                answer = await sent(client, ask)
                assert answer.status_code == 200, f"ready, and later answers {answer.status_code}: {answer.text}"
                assert texts_of(answer) == texts, "later tokens are others"
            await integrity(runtime)
            return "served"
        assert REASON.search(ready.text), f"/ready does not say why: {ready.text}"
        assert (await client.get("/health")).status_code == 503, "not ready for good, and /health says ok"
        for ask in ANSWERED:
            answer = await sent(client, ask)
            assert REASON.search(answer.text), f"a later request does not hear why: {answer.text}"
        return "said so"


async def sent(client: httpx.AsyncClient, ask: Ask) -> httpx.Response:
    return await client.request(ask.method, ask.path, json=ask.body)


async def together(client: httpx.AsyncClient) -> list[httpx.Response]:
    return await asyncio.gather(*(sent(client, ask) for ask in LOAD))


@pytest.fixture(scope="module")
def proof(
    tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path, gpt2_folder: Path
) -> Proof:
    folders = dict(zip(EXPERTS, (llama_folder, other_llama_folder, gpt2_folder), strict=True))
    config = write_config(tmp_path_factory.mktemp("seams"), folders)
    text = config.read_text().replace('device = "cpu"', 'device = "emulated"\nkv_bytes = "800kB"')
    text = text.replace('host_bytes = "64MB"', 'host_bytes = "2500kB"\ndevice_bytes = "2MB"')
    config.write_text(text + "\n[scheduler]\nslice_steps = 2\nmax_wait_s = 0.05\n")
    return Proof(config)


def cases_of(counts: dict[str, int], found: list[Seam]) -> list[Case]:
    """Every seam that is reached, with its first call and a later one, more often an early than a late one."""
    cases = []
    for seam in found:
        chance = proofs.chance_of(seam.name)
        first, later = chance.choice(KINDS), chance.choice(KINDS)
        call = min(round(2 ** chance.uniform(1, 7)), counts[seam.name] // 2)  # the next load may have fewer calls
        if counts[seam.name]:
            cases.append(Case(seam, 1, first))
        if call > 1:
            cases.append(Case(seam, call, later))
    return cases


# a fault where a coroutine is taken leaves that coroutine unrun
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_fault_at_any_seam_leaves_nobody_without_an_answer_and_readiness_true(
    proof: Proof, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """Its log is hundreds of traces that it has asked for, and is left out."""
    logging.disable()
    request.addfinalizer(lambda: logging.disable(logging.NOTSET))
    found = [seam for seam in seams(ROOMS) if not seam.name.endswith(NOT_TRIED)]
    counts = asyncio.run(proof.counts(found))
    chosen = proofs.chosen(cases_of(counts, found), sample=NUM_SAMPLED, name=Case.name)
    ends: Counter[str] = Counter()
    wrong = []
    for case in chosen:
        try:
            ends[asyncio.run(proof.tried(case))] += 1
        except Exception as error:
            wrong.append(f"{case}: {(str(error) or repr(error)).splitlines()[0]}")
            print(wrong[-1])
    record_property("num_seams", len(found))
    record_property("num_reached", sum(map(bool, counts.values())))
    record_property("num_cases", len(chosen))
    record_property("ends", json.dumps(ends))
    record_property("not_reached", json.dumps(sorted(name for name, count in counts.items() if not count)))
    assert not wrong, f"seed {proofs.seed()}, {len(wrong)} of {len(chosen)} cases:\n" + "\n".join(wrong)
