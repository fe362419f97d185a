"""The engine that answers at once gives as many tokens as were asked for, over the whole runtime."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from compositions import with_runtime, write_config

from coe.bench.http.instant_engine import InstantEngine
from coe.engine.loop import Engine
from coe.runtime import Runtime
from coe.types import Delta, Finished, FinishReason, GenerateRequest, Message, Sampling


@pytest.mark.parametrize("step_s", [0.0, 0.001])
def test_an_answer_has_its_tokens(tmp_path: Path, llama_folder: Path, step_s: float) -> None:
    async def work(runtime: Runtime) -> None:
        runtime.engine = cast(Engine, InstantEngine(runtime.engine, step_s))
        request = GenerateRequest("1", (Message("user", "hi"),), sampling=Sampling(5), num_choices=2)
        events = [event async for event in runtime.generate(request)]
        for index in range(2):
            own = [event for event in events if isinstance(event, Delta) and event.index == index]
            assert "".join(delta.text for delta in own) == "word " * 5
        ends = [event for event in events if isinstance(event, Finished)]
        assert [(end.reason, end.usage.completion_tokens) for end in ends] == [(FinishReason.LENGTH, 5)] * 2

    with_runtime(write_config(tmp_path, {"general": llama_folder}), work)
