"""The arithmetic follows the processor, and rounded products stay close to float32 wherever they run."""

from __future__ import annotations

import pytest
import torch

from router.encoding.encoder import Encoder
from router.encoding.openvino_bert import ARITHMETICS, arithmetic_here, properties_for

TEXTS = [
    "What are the symptoms of appendicitis?",
    "Write a SQL query that lists the ten largest customers.",
    "Summarise the following article in two sentences. " + "The council met on Tuesday to vote. " * 20,
]


@pytest.mark.parametrize(
    ("has_amx", "has_vnni", "expected"),
    [(True, True, "bfloat16"), (False, True, "int8"), (False, False, "float32")],
)
def test_the_arithmetic_is_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch, has_amx: bool, has_vnni: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: has_vnni)
    assert arithmetic_here() == expected


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_no_thread_is_pinned_and_a_text_has_one(arithmetic: str) -> None:
    found = properties_for(arithmetic)
    assert found["ENABLE_CPU_PINNING"] is False
    assert found["NUM_STREAMS"] == found["INFERENCE_NUM_THREADS"]


@pytest.mark.parametrize("arithmetic", ["bfloat16", "int8"])
def test_the_default_stays_close_to_float32(monkeypatch: pytest.MonkeyPatch, arithmetic: str) -> None:
    vectors = {}
    for name in ("float32", arithmetic):
        monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda name=name: name)
        vectors[name] = Encoder().encode(TEXTS).reshape(-1, 384)
    assert (vectors[arithmetic] * vectors["float32"]).sum(axis=1).min() > 0.995
