"""What cannot be answered has its status before the headers, and what another expert can answer goes to it.

A live server over tiny experts; faults are injected into steps and reads of one expert. Cases are tried whole and as a
stream: the status is the same.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_models
from compositions import write_config
from scripted import Scripted
from server_live import Live, live_server, own_units
from waits import until

from coe import Client
from coe.client import Answer
from coe.engine.step_runner import StepRunner
from coe.scheduling.breakers import OPEN_S
from coe.types import PassedOver
from coe.weights.lease import Lease
from coe.weights.report import CacheReport
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Unit

CODE = "code 0.6 sql 0.3 maths 0.1"
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class Faults:
    """Experts whose steps raise, before their first token or after it, and experts whose weights do not arrive."""

    def __init__(self) -> None:
        self.steps: set[str] = set()
        self.later_steps: set[str] = set()
        self.some_steps: set[str] = set()
        self.held_units: set[str] = set()
        self.num_steps = 0
        self.open, self.opened = threading.Event(), threading.Event()

    def begin(
        self, real: Callable[..., None], runner: StepRunner, expert: str, counts: Mapping[str, int], lease: Lease
    ) -> None:
        self.num_steps += 1
        has_answered = any(runner._sequences[name].output_ids for name in counts)
        is_some = expert in self.some_steps and not has_answered and self.num_steps % 2
        if is_some or expert in self.steps or (has_answered and expert in self.later_steps):
            raise RuntimeError("an illegal memory access")
        real(runner, expert, counts, lease)

    def hold(self, live: Live, expert: str) -> None:
        """Have the expert's weights wait for `let_go`."""
        self.held_units |= own_units(live, expert)  # first, or a prefetch would bring them back
        assert httpx.post(f"{live.url}/admin/experts/{expert}/unload").status_code == 200

    def wait(self, read: Callable[[], None]) -> None:
        assert self.opened.wait(60)
        read()

    def let_go(self) -> None:
        self.held_units = set()
        self.opened.set()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    llama_folder: Path,
    other_llama_folder: Path,
    untied_llama_folder: Path,
    qwen3_folder: Path,
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("fallback")
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{}")
    (folder / "coe.toml").write_text(
        f"""
        [experts]
        general = "{llama_folder}"
        maths = "{qwen3_folder}"
        broken = "broken"
        [experts.code]
        source = "{other_llama_folder}"
        [experts.sql]
        source = "{untied_llama_folder}"
        aliases = ["database"]
        fallbacks = ["broken", "maths"]
        [cache]
        dir = "store"
        host_bytes = "64MB"
        [engine]
        device = "cpu"
        dtype = "float32"
        num_threads = 1
        kv_bytes = "300kB"
        prefix_reuse = false
        [scheduler]
        max_queue = 5
        max_queue_per_expert = 3
        """
    )
    with live_server(folder / "coe.toml", Scripted(), keep_alive_s=30.0) as live:
        yield live


@pytest.fixture
def faults(server: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """No faults at first, and closed breakers; afterwards everything is as before."""
    faults, begin, reads = Faults(), StepRunner.begin, UnitStore.reads

    def held_reads(store: UnitStore, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        found = reads(store, unit, target)
        is_held = unit.hash in faults.held_units
        return [lambda read=read: faults.wait(read) for read in found] if is_held else found  # type: ignore[misc]

    monkeypatch.setattr(StepRunner, "begin", lambda runner, *rest: faults.begin(begin, runner, *rest))
    monkeypatch.setattr(UnitStore, "reads", held_reads)
    yield faults
    faults.let_go()
    engine = server.runtime.engine
    for name in server.runtime.experts.served:
        engine.operator.unpin(name).result()
        engine.call(lambda name=name: engine._breakers.succeeded(name)).result()  # type: ignore[misc]
    served = server.runtime.experts.served
    until(lambda: not any(map(engine.status.num_requests, served)), "no request is left")
    engine.call(engine.check_integrity).result()


def ask(live: Live, prompt: str, *, stream: bool = False, model: str = "coe", **more: Any) -> httpx.Response:
    body = {"model": model, "stream": stream, "max_tokens": 3, "temperature": 0, "coe": {"explain": True}, **more}
    body["messages"] = [{"role": "user", "content": prompt}]
    return httpx.post(f"{live.url}/v1/chat/completions", json=body, timeout=60)


def coe_of(response: httpx.Response) -> dict[str, Any]:
    """The `coe` object of an answer, whole or streamed."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"] == "application/json":
        found: dict[str, Any] = response.json()["coe"]
        return found
    assert response.text.endswith("data: [DONE]\n\n")
    assert "event: error" not in response.text
    first = next(line for line in response.text.splitlines() if line.startswith("data: "))
    streamed: dict[str, Any] = json.loads(first.removeprefix("data: "))["coe"]
    return streamed


def error_of(response: httpx.Response) -> tuple[int, str | None, str]:
    """Status, code and message of a refusal, which came before any header of a stream."""
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


def series(live: Live, name: str) -> dict[str, float]:
    lines = httpx.get(f"{live.url}/metrics").text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(name)}


# -- routed requests


@STREAMS
def test_the_next_likeliest_expert_answers_for_one_whose_step_raises(
    server: Live, faults: Faults, stream: bool
) -> None:
    faults.steps = {"code"}
    label = 'coe_passed_over_total{expert="code",reason="failing"}'
    before = series(server, "coe_passed_over").get(label, 0.0)
    answered = series(server, "coe_requests_total")
    response = ask(server, CODE, stream=stream)
    coe = coe_of(response)
    assert (coe["expert"], coe["why"], coe["category"]) == ("sql", "category", "code")
    assert coe["passed_over"] == [{"expert": "code", "reason": "failing"}]
    assert coe["because"] == "category code at 0.60; code is passed over (failing), sql answers"
    assert response.headers["x-coe-expert"] == "sql"
    assert response.headers["x-coe-passed-over"] == "code;reason=failing"
    assert series(server, "coe_passed_over")[label] == before + 1
    now = series(server, "coe_requests_total")
    assert {key for key, count in now.items() if count != answered.get(key, 0.0)} == {
        'coe_requests_total{expert="sql",outcome="ok"}'
    }


def test_it_says_exactly_what_it_says_when_it_is_asked_itself(server: Live, faults: Faults) -> None:
    alone = ask(server, CODE, model="sql").json()
    faults.steps = {"code"}
    instead = ask(server, CODE).json()
    assert instead["choices"] == alone["choices"]
    assert instead["usage"] == alone["usage"]
    assert instead["model"] == "sql"


@STREAMS
def test_the_general_expert_is_the_second_and_last_hop(server: Live, faults: Faults, stream: bool) -> None:
    faults.steps = {"code", "sql"}
    coe = coe_of(ask(server, CODE, stream=stream))
    assert coe["expert"] == "general"
    assert [passed["expert"] for passed in coe["passed_over"]] == ["code", "sql"]
    faults.steps = {"code", "sql", "general"}
    status, code, message = error_of(ask(server, CODE, stream=stream))
    assert (status, code) == (503, "expert_unavailable")
    assert "expert 'general': its step failed" in message


@STREAMS
def test_an_expert_that_was_refused_at_start_is_passed_over(server: Live, stream: bool) -> None:
    coe = coe_of(ask(server, "broken 0.5 maths 0.4 sql 0.1", stream=stream))
    assert (coe["expert"], coe["passed_over"]) == ("maths", [{"expert": "broken", "reason": "refused"}])
    route = httpx.post(f"{server.url}/v1/route", json={"prompt": "broken 0.5 maths 0.4 sql 0.1"}).json()
    assert (route["expert"], route["passed_over"]) == (coe["expert"], coe["passed_over"])
    coe = coe_of(ask(server, "this goes by bad rule", stream=stream))
    assert (coe["expert"], coe["why"], coe["passed_over"]) == (
        "general",
        "rule",
        [{"expert": "broken", "reason": "refused"}],
    )


@STREAMS
def test_a_rule_is_routed_and_goes_on_to_the_general_expert(server: Live, faults: Faults, stream: bool) -> None:
    faults.steps = {"code"}
    coe = coe_of(ask(server, "this goes by rule", stream=stream))
    assert (coe["expert"], coe["why"]) == ("general", "rule")


@STREAMS
def test_an_expert_that_fails_after_its_first_token_is_not_passed_over(
    server: Live, faults: Faults, stream: bool
) -> None:
    """What has been said stays said: two experts never write one answer."""
    faults.later_steps = {"code"}
    response = ask(server, CODE, stream=stream)
    if not stream:
        assert error_of(response)[:2] == (503, "expert_unavailable")
        return
    assert response.status_code == 200
    assert response.headers["x-coe-expert"] == "code"
    *_, error, done, nothing = response.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    assert error.startswith("event: error\ndata: ")
    assert json.loads(error.split("data: ")[1])["error"]["code"] == "expert_unavailable"


@STREAMS
def test_completions_are_passed_on_and_refused_alike(server: Live, faults: Faults, stream: bool) -> None:
    faults.steps = {"code"}
    body = {"prompt": CODE, "max_tokens": 3, "stream": stream}
    coe = coe_of(httpx.post(f"{server.url}/v1/completions", json=body, timeout=60))
    assert (coe["expert"], coe["passed_over"]) == ("sql", [{"expert": "code", "reason": "failing"}])
    refused = httpx.post(f"{server.url}/v1/completions", json={**body, "model": "code"}, timeout=60)
    assert error_of(refused)[:2] == (503, "expert_unavailable")


def test_nobody_notices_an_expert_that_fails_now_and_then(
    tmp_path: Path, faults: Faults, pool: ThreadPoolExecutor, llama_folder: Path, other_llama_folder: Path
) -> None:
    """Forty routed requests, eight at a time, and every other step of their expert's first ones fails."""
    with small_server(tmp_path, 30.0, general=llama_folder, code=other_llama_folder) as live:
        said = {
            ask(live, "code 1.0", model=name).json()["choices"][0]["message"]["content"] for name in ("code", "general")
        }
        faults.some_steps = {"code"}
        answers = [each.json() for each in pool.map(lambda at: ask(live, "code 1.0", stream=False, seed=at), range(40))]
        assert {answer["choices"][0]["message"]["content"] for answer in answers} <= said
        experts = {(answer["coe"]["expert"], len(answer["coe"]["passed_over"])) for answer in answers}
        assert ("general", 1) in experts
        assert experts <= {("general", 1), ("code", 0)}
        counts = live.runtime.metrics.snapshot().requests
        assert sum(counts.values()) == 42
        assert {outcome for _, outcome in counts} == {"ok"}
        live.runtime.engine.call(live.runtime.engine.check_integrity).result()


def test_choices_are_passed_on_together(server: Live, faults: Faults) -> None:
    faults.steps = {"code"}
    answer = ask(server, CODE, n=3).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["coe"]["passed_over"] == [{"expert": "code", "reason": "failing"}]


def test_a_stand_in_with_too_short_a_context_is_not_the_requests_fault(
    tmp_path: Path, faults: Faults, llama_folder: Path
) -> None:
    short = tiny_models.tiny_llama(tmp_path / "short", max_position_embeddings=64)
    prompt = "code 1.0 " + "general 0.0 " * 20
    with small_server(tmp_path, 30.0, general=short, code=llama_folder) as live:
        assert error_of(ask(live, prompt, model="general"))[:2] == (400, "context_length_exceeded")
        faults.steps = {"code"}
        status, code, message = error_of(ask(live, prompt))
        assert (status, code) == (503, "expert_unavailable")
        assert "expert 'code': its step failed" in message


# -- queues, deadlines, what can never fit


def fill(live: Live, faults: Faults, expert: str, num: int, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """Have requests wait for an expert whose weights do not come."""
    faults.hold(live, expert)
    waiting = [pool.submit(ask, live, "x", model=expert) for _ in range(num)]
    until(lambda: live.runtime.engine.status.num_requests(expert) >= num, f"{num} requests wait")
    return waiting


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


@STREAMS
def test_a_full_queue_is_429_for_who_names_the_expert_and_passed_over_for_who_does_not(
    server: Live, faults: Faults, pool: ThreadPoolExecutor, stream: bool
) -> None:
    waiting = fill(server, faults, "code", 3, pool)
    refused = ask(server, "x", model="code", stream=stream)
    assert error_of(refused)[:2] == (429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    coe = coe_of(ask(server, CODE, stream=stream))
    assert (coe["expert"], coe["passed_over"]) == ("sql", [{"expert": "code", "reason": "queue"}])
    faults.let_go()
    assert [done.result().status_code for done in waiting] == [200] * 3


def test_choices_that_do_not_all_find_a_place_are_all_refused(
    server: Live, faults: Faults, pool: ThreadPoolExecutor
) -> None:
    waiting = fill(server, faults, "code", 2, pool)
    assert error_of(ask(server, "x", model="code", n=2))[0] == 429
    assert server.runtime.engine.status.num_requests("code") == 2
    faults.let_go()
    assert [done.result().status_code for done in waiting] == [200] * 2


@STREAMS
def test_the_queue_of_all_is_429_for_everybody(
    server: Live, faults: Faults, pool: ThreadPoolExecutor, stream: bool
) -> None:
    waiting = [*fill(server, faults, "code", 3, pool), *fill(server, faults, "sql", 2, pool)]
    assert error_of(ask(server, "maths 1.0", stream=stream))[:2] == (429, "overloaded")
    faults.let_go()
    assert [done.result().status_code for done in waiting] == [200] * 5


@STREAMS
@pytest.mark.parametrize(
    ("more", "param"),
    [({"n": 4}, "n"), ({"max_tokens": 480}, "max_tokens"), ({"n": 2, "max_tokens": 480}, "max_tokens")],
)
def test_what_can_never_fit_is_400(server: Live, stream: bool, more: dict[str, int], param: str) -> None:
    for model in ("coe", "code"):
        response = ask(server, CODE, model=model, stream=stream, **more)
        assert error_of(response)[0] == 400
        assert response.json()["error"]["param"] == param


@STREAMS
def test_an_unknown_expert_is_404_and_a_refused_one_503(server: Live, stream: bool) -> None:
    assert error_of(ask(server, "x", model="nobody", stream=stream))[:2] == (404, "model_not_found")
    status, code, message = error_of(ask(server, "x", model="broken", stream=stream))
    assert (status, code) == (503, "expert_unavailable")
    assert "'broken'" in message


# -- requests that name their expert


@STREAMS
@pytest.mark.parametrize(("prompt", "model"), [("x", "code"), ("@code x", "coe")])
def test_a_named_expert_without_fallbacks_fails_by_name(
    server: Live, faults: Faults, prompt: str, model: str, stream: bool
) -> None:
    faults.steps = {"code"}
    status, code, message = error_of(ask(server, prompt, model=model, stream=stream))
    assert (status, code) == (503, "expert_unavailable")
    assert "expert 'code': its step failed" in message


@STREAMS
@pytest.mark.parametrize(("prompt", "model"), [("x", "sql"), ("x", "DataBase"), ("@sql x", "coe")])
def test_a_named_expert_with_fallbacks_is_passed_over_in_their_order(
    server: Live, faults: Faults, prompt: str, model: str, stream: bool
) -> None:
    faults.steps = {"sql"}
    coe = coe_of(ask(server, prompt, model=model, stream=stream))
    assert (coe["expert"], coe["why"]) == ("maths", "mention" if model == "coe" else "model")
    assert coe["passed_over"] == [{"expert": "sql", "reason": "failing"}, {"expert": "broken", "reason": "refused"}]


def test_the_client_library_says_who_was_passed_over(server: Live, faults: Faults) -> None:
    faults.steps = {"code"}
    with Client(server.url) as client:
        whole: Answer = client.chat(CODE, max_tokens=2, coe={"explain": True})
        streamed = client.stream(CODE, max_tokens=2, coe={"explain": True})
        assert list(streamed)
    for answer in (whole, streamed.answer):
        assert answer.decision.passed_over == (PassedOver("code", "failing"),)
        assert answer.decision.alternatives == ("general",)


def test_a_fallback_that_the_request_excludes_does_not_answer(server: Live, faults: Faults) -> None:
    faults.steps = {"sql"}
    assert coe_of(ask(server, "x", model="sql"))["expert"] == "maths"
    status, code, _ = error_of(ask(server, "x", model="sql", coe={"exclude": ["MATHS"]}))
    assert (status, code) == (503, "expert_unavailable")


# -- the breaker


def expert_status(live: Live, name: str) -> dict[str, Any]:
    experts = httpx.get(f"{live.url}/admin/experts").json()["experts"]
    found: dict[str, Any] = next(expert for expert in experts if expert["name"] == name)
    return found


def open_breaker(live: Live, faults: Faults, expert: str) -> None:
    faults.steps = {expert}
    for _ in range(3):
        assert error_of(ask(live, "x", model=expert))[0] == 503


def let_time_pass(live: Live, expert: str) -> None:
    """Have the breaker be as it will be in OPEN_S."""
    breakers = live.runtime.engine._breakers
    object.__setattr__(breakers.of(expert), "probe_s", breakers.of(expert).probe_s - OPEN_S)


@STREAMS
def test_an_open_breaker_keeps_requests_out_at_once(server: Live, faults: Faults, stream: bool) -> None:
    open_breaker(server, faults, "code")
    num_steps = faults.num_steps
    refused = ask(server, "x", model="code", stream=stream)
    status, code, message = error_of(refused)
    assert (status, code) == (503, "expert_unavailable")
    assert "failed 3 times in a row" in message
    assert "illegal memory access" in message
    assert 1 <= int(refused.headers["retry-after"]) <= OPEN_S
    assert faults.num_steps == num_steps
    coe = coe_of(ask(server, CODE, stream=stream))
    assert coe["passed_over"] == [{"expert": "code", "reason": "failing"}]
    assert expert_status(server, "code")["breaker"] == "open"
    assert series(server, "coe_breaker_open")['coe_breaker_open{expert="code"}'] == 1
    route = httpx.post(f"{server.url}/v1/route", json={"prompt": CODE}).json()
    assert (route["expert"], route["passed_over"]) == ("sql", coe["passed_over"])


def test_a_half_open_breaker_lets_one_request_through_which_opens_or_closes_it(server: Live, faults: Faults) -> None:
    open_breaker(server, faults, "code")
    let_time_pass(server, "code")
    assert expert_status(server, "code")["breaker"] == "half-open"
    num_steps = faults.num_steps
    assert coe_of(ask(server, CODE))["expert"] == "sql"  # the probe was tried first, and failed
    assert faults.num_steps > num_steps
    assert expert_status(server, "code")["breaker"] == "open"
    faults.steps = set()
    let_time_pass(server, "code")
    assert coe_of(ask(server, CODE))["expert"] == "sql"  # it was opened for twice as long
    let_time_pass(server, "code")
    assert coe_of(ask(server, CODE))["expert"] == "code"
    assert expert_status(server, "code")["breaker"] == "closed"
    assert series(server, "coe_breaker_open")['coe_breaker_open{expert="code"}'] == 0


def test_one_fault_that_ends_many_requests_counts_once_and_client_errors_do_not_count(
    server: Live, faults: Faults, pool: ThreadPoolExecutor
) -> None:
    waiting = fill(server, faults, "code", 3, pool)
    faults.steps = {"code"}
    faults.let_go()
    assert [done.result().status_code for done in waiting] == [503] * 3
    for _ in range(5):
        assert ask(server, "x", model="code", n=4).status_code == 400
    assert expert_status(server, "code")["breaker"] == "closed"
    faults.steps = set()
    assert ask(server, "x", model="code").status_code == 200


def test_an_operators_load_closes_it(server: Live, faults: Faults) -> None:
    open_breaker(server, faults, "code")
    faults.steps = set()
    assert httpx.post(f"{server.url}/admin/experts/code/load").json()["expert"]["breaker"] == "closed"
    assert ask(server, "x", model="code").status_code == 200


# -- time


@contextmanager
def small_server(folder: Path, keep_alive_s: float, more: str = "", **experts: Path) -> Iterator[Live]:
    with live_server(write_config(folder, experts, more), Scripted(), keep_alive_s=keep_alive_s) as live:
        yield live


@STREAMS
def test_a_deadline_that_passes_before_the_first_byte_is_504(
    tmp_path: Path, faults: Faults, llama_folder: Path, other_llama_folder: Path, stream: bool
) -> None:
    more = "[scheduler]\ndeadline_s = 0.3"
    with small_server(tmp_path, 30.0, more, general=llama_folder, code=other_llama_folder) as live:
        faults.hold(live, "code")
        status, code, message = error_of(ask(live, "x", model="code", stream=stream))
        assert (status, code) == (504, "deadline_exceeded")
        assert "'code' within 0.3 s" in message
        faults.let_go()


@STREAMS
def test_a_deadline_that_the_load_cannot_meet_is_504_at_once(
    server: Live, faults: Faults, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(CacheReport, "load_s", lambda _, expert: 1e6 if expert == "code" else 0.0)
    faults.hold(server, "code")  # nobody waits for it
    status, code, message = error_of(ask(server, "x", model="code", stream=stream))
    assert (status, code) == (504, "deadline_exceeded")
    assert "expert 'code' takes about 1000000.0 s to load" in message
    assert coe_of(ask(server, CODE, stream=stream))["passed_over"] == [{"expert": "code", "reason": "deadline"}]


@STREAMS
def test_an_expert_that_is_past_its_share_of_the_deadline_is_passed_over(
    tmp_path: Path, faults: Faults, llama_folder: Path, other_llama_folder: Path, stream: bool
) -> None:
    more = "[scheduler]\ndeadline_s = 4"
    with small_server(tmp_path, 30.0, more, general=llama_folder, code=other_llama_folder) as live:
        assert ask(live, "x", model="general").status_code == 200
        faults.hold(live, "code")
        coe = coe_of(ask(live, "code 1.0", stream=stream))
        assert (coe["expert"], coe["passed_over"]) == ("general", [{"expert": "code", "reason": "deadline"}])
        faults.let_go()


def test_after_a_comments_time_the_headers_go_and_what_fails_then_is_an_event(
    tmp_path: Path, faults: Faults, llama_folder: Path, other_llama_folder: Path
) -> None:
    with small_server(tmp_path, 0.02, general=llama_folder, code=other_llama_folder) as live:
        faults.hold(live, "code")
        body = {"stream": True, "messages": [{"role": "user", "content": "code 1.0"}]}
        lines: list[str] = []
        with httpx.stream("POST", f"{live.url}/v1/chat/completions", json=body, timeout=60) as response:
            assert response.status_code == 200
            assert response.headers["x-coe-expert"] == "code"
            for line in response.iter_lines():
                lines.append(line)
                if line.startswith(": waiting"):
                    faults.steps = {"code"}
                    faults.let_go()
        waiting = [line for line in lines if line.startswith(": waiting")]
        told = json.loads(waiting[0].removeprefix(": waiting "))
        assert (told["expert"], told["position"], told["queued"]) == ("code", 1, 1)
        assert 0 <= told["loaded_bytes"] < told["size_bytes"]
        *_, event, data, _, done, _ = lines
        assert (event, done) == ("event: error", "data: [DONE]")
        assert json.loads(data.removeprefix("data: "))["error"]["code"] == "expert_unavailable"
        faults.steps = set()


def test_a_client_that_leaves_while_its_stream_waits_is_cancelled(server: Live, faults: Faults) -> None:
    faults.hold(server, "code")
    body = {"stream": True, "model": "code", "max_tokens": 3, "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=0.5)
    until(lambda: not server.runtime.engine.status.num_requests("code"), "its request has ended")


# -- pins


@pytest.fixture
def tight(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    """Room for one expert at a time."""
    config = write_config(tmp_path, {"general": llama_folder, "code": other_llama_folder}, 'kv_bytes = "200kB"')
    config.write_text(config.read_text().replace("64MB", "1MB"))
    with live_server(config, Scripted(), keep_alive_s=30.0) as live:
        yield live


def test_a_request_that_pins_leave_no_room_for_is_503_at_once_and_names_them(tight: Live) -> None:
    assert ask(tight, "x", model="code").status_code == 200
    assert httpx.post(f"{tight.url}/admin/experts/general/pin").status_code == 200
    for stream in (False, True):
        status, code, message = error_of(ask(tight, "x", model="code", stream=stream))
        assert (status, code) == (503, "expert_unavailable")
        assert message == "expert 'code': there is no room for it beside what is pinned: general; unpin one of them"
        coe = coe_of(ask(tight, "code 1.0", stream=stream))
        assert (coe["expert"], coe["passed_over"]) == ("general", [{"expert": "code", "reason": "pinned"}])
    assert expert_status(tight, "code")["breaker"] == "closed"
    assert httpx.post(f"{tight.url}/admin/experts/general/unpin").status_code == 200
    assert ask(tight, "x", model="code").status_code == 200


def test_a_pin_ends_the_requests_that_wait_for_an_expert_without_room(tight: Live, pool: ThreadPoolExecutor) -> None:
    runtime = tight.runtime
    lease = runtime.engine.call(lambda: runtime.engine._cache.lease("general")).result()  # `code` has to wait
    waiting = pool.submit(ask, tight, "x", model="code")
    until(lambda: runtime.engine.status.num_requests("code"), "its request waits")
    assert httpx.post(f"{tight.url}/admin/experts/general/pin").status_code == 200
    assert error_of(waiting.result())[0] == 503
    runtime.engine.call(lease.close).result()


@STREAMS
def test_an_expert_that_no_budget_fits_is_400_by_name_and_passed_over(
    tmp_path: Path, llama_folder: Path, stream: bool
) -> None:
    large = tiny_models.tiny_gpt2(tmp_path / "large", num_layers=40)
    config = write_config(tmp_path, {"general": llama_folder, "code": large}, 'kv_bytes = "1MB"')
    config.write_text(config.read_text().replace("64MB", "3MB"))
    with live_server(config, Scripted()) as live:
        status, code, message = error_of(ask(live, "x", model="code", stream=stream))
        assert (status, code) == (400, "expert_too_large")
        assert "raise [cache] device_bytes" in message
        assert coe_of(ask(live, "code 1.0", stream=stream))["passed_over"] == [{"expert": "code", "reason": "refused"}]
