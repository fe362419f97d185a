"""Processes that are killed at any moment leave a store that the next ones serve from; several share one store."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import proofs
import pytest
from compositions import write_config
from dying import die_at_touch
from http_answers import texts_of
from served_process import ServedProcess, served_process
from server_live import Live, live_server

from coe.cli import main

EXPERTS = ("general", "other", "gpt2")
PROMPT = "What is the capital of France?"
NUM_TOUCHES = 45  # of the store: an import of the three has more


def body_of(expert: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": expert, "messages": messages, "temperature": 0, "max_tokens": 16, **more}


def texts(served: ServedProcess | Live, *experts: str) -> list[dict[int, str]]:
    with httpx.Client(base_url=served.url, timeout=120) as client:
        answers = [client.post("/v1/chat/completions", json=body_of(expert)) for expert in experts]
    assert [answer.status_code for answer in answers] == [200] * len(experts), [answer.text for answer in answers]
    return [texts_of(answer) for answer in answers]


def kill_while_it_answers(served: ServedProcess, chance: random.Random) -> None:
    """SIGKILL in the middle of a stream, while another expert's weights are asked for."""
    num_lines = chance.randrange(1, 40)
    with httpx.Client(base_url=served.url, timeout=120) as client:
        client.post(f"/admin/experts/{chance.choice(EXPERTS)}/unload")
        body = body_of(chance.choice(EXPERTS), max_tokens=200, stream=True)
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            for _, _ in zip(range(num_lines), answer.iter_lines(), strict=False):
                pass
            served.signal(signal.SIGKILL)
            assert served.exit_code() == -signal.SIGKILL


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def folders(llama_folder: Path, other_llama_folder: Path, gpt2_folder: Path) -> dict[str, Path]:
    return dict(zip(EXPERTS, (llama_folder, other_llama_folder, gpt2_folder), strict=True))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> list[dict[int, str]]:
    with live_server(write_config(tmp_path_factory.mktemp("whole"), folders)) as live:
        return texts(live, *EXPERTS)


def test_after_a_kill_at_any_moment_a_restart_serves_and_verify_is_clean(
    tmp_path: Path,
    folders: dict[str, Path],
    expected: list[dict[int, str]],
    record_property: Callable[[str, object], None],
) -> None:
    chance = random.Random(proofs.seed())
    num_rounds = proofs.num_cases(sample=1, full=25)
    moments = [chance.randrange(1, NUM_TOUCHES) for _ in range(num_rounds)]
    for number, moment in enumerate(moments):
        folder = tmp_path / str(number)
        folder.mkdir()
        config = write_config(folder, folders)
        with served_process(config, partial(die_at_touch, str(folder / "store"), moment)) as served:
            assert served.exit_code() == -signal.SIGKILL
        with served_process(config) as served:
            served.wait_ready()
            assert texts(served, *EXPERTS) == expected, f"import killed at touch {moment}"
            kill_while_it_answers(served, chance)
        with served_process(config) as served:
            served.wait_ready()
            assert texts(served, *EXPERTS) == expected
            served.signal(signal.SIGTERM)
            assert served.exit_code() == 0, served.log
        assert main(["experts", "gc", "-c", str(config)]) == 0
        assert files_in(folder / "store" / "tmp") == []
        assert main(["experts", "verify", "-c", str(config)]) == 0
    record_property("num_kills", 2 * num_rounds)
    record_property("moments", json.dumps(moments))


def test_a_gc_spares_what_live_servers_use_and_takes_what_a_dead_one_left(
    tmp_path: Path, folders: dict[str, Path], expected: list[dict[int, str]]
) -> None:
    configs = {}
    for name in ("other", "gpt2"):
        (tmp_path / name).mkdir()
        configs[name] = write_config(tmp_path / name, {"general": folders["general"], name: folders[name]})
        text = configs[name].read_text().replace(str(tmp_path / name / "store"), str(tmp_path / "store"))
        configs[name].write_text(text)
    with served_process(configs["other"]) as one, served_process(configs["gpt2"]) as two:
        one.wait_ready()
        two.wait_ready()
        assert texts(one, "general", "other") == expected[:2]
        httpx.post(f"{one.url}/admin/experts/other/unload", timeout=60)
        before = len(files_in(tmp_path / "store" / "units"))
        assert main(["experts", "gc", "-c", str(configs["gpt2"])]) == 0
        assert len(files_in(tmp_path / "store" / "units")) == before
        assert texts(one, "general", "other") == expected[:2]
        one.signal(signal.SIGKILL)
        assert one.exit_code() == -signal.SIGKILL
        assert main(["experts", "gc", "-c", str(configs["gpt2"])]) == 0
        assert len(files_in(tmp_path / "store" / "units")) < before
        httpx.post(f"{two.url}/admin/experts/gpt2/unload", timeout=60)
        assert texts(two, "general", "gpt2") == [expected[0], expected[2]]
    assert main(["experts", "verify", "-c", str(configs["gpt2"])]) == 0
