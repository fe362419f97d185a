"""Requests that are wrong in any way: never an error of the server's own, never a hang.

COE_FUZZ_CASES and COE_PROVE_SEED run more of them, or others; a case that fails is made again by its number.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import proofs
import pytest
from compositions import write_config
from http_fuzz import Case, Exchange, case_of, exchange
from server_live import Live, live_server

from server.connection import ConnectionLimits

NUM_CASES = proofs.num_cases(sample=200, full=5000)
FIRST_SEED = proofs.first_case()
LIMITS = ConnectionLimits(header_timeout_s=0.3)
HONEST = {"overloaded", "expert_unavailable"}  # 503s and 429s that say what is the matter


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("fuzzed")
    experts = {"general": llama_folder, "other": other_llama_folder}
    with live_server(write_config(folder, experts, "max_tokens = 3"), limits=LIMITS, body_timeout_s=0.3) as server:
        yield server


def problem_of(found: Exchange) -> str | None:
    """What is wrong with an exchange, None if nothing is."""
    if found.hung:
        return "hung"
    for status in found.statuses:
        if status >= 500 and not any(f'"code":"{code}"'.encode() in found.received for code in HONEST):
            return f"status {status}"
    head, _, body = found.received.partition(b"\r\n\r\n")
    if found.statuses and head.startswith(b"HTTP/1.1 4") and len(found.statuses) == 1:
        if b"x-request-id: " not in head:
            return "an error without an id"
        if body and set(json.loads(body)["error"]) != {"message", "type", "param", "code"}:
            return "an error of another shape"
        if len(body) > 4000:
            return "an error that repeats too much"
    if b"event: error" in found.received and not any(code.encode() in found.received for code in HONEST):
        return "a stream that failed"
    if b"internal error" in found.received or b"Traceback" in found.received:
        return "an error of the server's own"
    return None


def described(seed: int, case: Case, found: Exchange, problem: str) -> str:
    sent = b"".join(case.pieces)
    return f"seed {seed}: {problem}; damage {case.damage}; sent {sent[:600]!r}; received {found.received[:600]!r}"


@pytest.mark.timeout(7200)
def test_no_request_is_an_error_of_the_servers_own_or_hangs(
    fuzzed: Live, caplog: pytest.LogCaptureFixture, record_property: Callable[[str, object], None]
) -> None:
    failures, statuses = [], Counter[int]()
    for seed in range(FIRST_SEED, FIRST_SEED + NUM_CASES):
        case = case_of(seed)
        found = exchange(fuzzed.url, case)
        statuses.update(found.statuses)
        if problem := problem_of(found):
            failures.append(described(seed, case, found, problem))
    record_property("num_cases", NUM_CASES)
    record_property("statuses", json.dumps(sorted(statuses.items())))
    assert not failures, "\n".join(failures[:20])
    assert httpx.get(f"{fuzzed.url}/ready").status_code == 200
    assert not [record for record in caplog.records if "Traceback" in record.getMessage() or record.exc_info]
    assert statuses[200] > NUM_CASES / 20  # the cases reach behind the parser
    assert sum(statuses[status] for status in (400, 404, 405)) > NUM_CASES / 5


def test_a_seed_makes_the_same_case() -> None:
    assert case_of(5) == case_of(5)
    assert len({b"".join(case_of(seed).pieces) for seed in range(100)}) > 80
