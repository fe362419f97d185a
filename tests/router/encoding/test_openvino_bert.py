"""The arithmetic follows the processor, rounded products stay close to float32, and pieces do not see each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_encoders import write_model

from router.encoding.encoder import Encoder
from router.encoding.openvino_bert import (
    ARITHMETICS,
    ROW_BLOCK,
    OpenVinoBert,
    apart,
    arithmetic_here,
    properties_for,
    together,
)

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


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_a_piece_does_not_see_the_other_pieces_of_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arithmetic: str
) -> None:
    monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda: arithmetic)
    network = Encoder(str(write_model(tmp_path / "model")))._backbone.network
    assert isinstance(network, OpenVinoBert)
    pieces = ((2, 5, 6, 7, 3), (2, 9, 3), (2, 8, 7, 6, 5, 9, 3))
    (together,) = network.states([pieces])
    assert [states.shape[0] for states in together] == [5, 3, 7]
    for states, piece in zip(together, pieces, strict=True):
        torch.testing.assert_close(states, network.states([[piece]])[0][0], atol=0.02, rtol=0)  # rounded to bfloat16
    assert [len(text) for text in network.states([pieces, pieces[:1], pieces[1:]])] == [3, 1, 2]


def test_attention_is_masked_between_pieces_alone() -> None:
    (mask,) = apart([1, 2])[0]
    assert (mask == 0).tolist() == [[True, False, False], [False, True, True], [False, True, True]]
    assert apart([3]).tolist() == [[[[0.0] * 3] * 3]]


def test_rows_are_padded_to_whole_tiles_of_amx_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {}
    for name in ARITHMETICS:
        monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda name=name: name)
        network = Encoder(str(write_model(tmp_path / name)))._backbone.network
        assert isinstance(network, OpenVinoBert)
        inputs = network._inputs([(2, 5, 3), (2, 6, 7, 3)])
        rows[name] = inputs[0].shape[0]
        assert inputs[1].shape == (1, 1, rows[name], rows[name])
    assert rows == {"float32": 7, "bfloat16": ROW_BLOCK["bfloat16"], "int8": 7}


def test_pieces_of_many_tokens_go_alone_where_that_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [(2, 5, 3), (2, 6, 7, 3)]
    assert together(pieces, 7) == [pieces]
    assert together(pieces, 6) == [[pieces[0]], [pieces[1]]]
    monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda: "int8")
    monkeypatch.setattr("router.encoding.openvino_bert.MOST_TOGETHER", {"int8": 6})
    network = Encoder(str(write_model(tmp_path / "model")))._backbone.network
    states = network.states([pieces, pieces[:1]])
    assert [[len(piece) for piece in text] for text in states] == [[3, 4], [3]]
    torch.testing.assert_close(states[0][0], states[1][0], atol=0, rtol=0)


def test_it_is_imported_without_a_word_to_its_makers() -> None:
    """In a process of its own: openvino's own import sends an event from a thread."""
    script = (
        "import sys, threading; from router.encoding.openvino_bert import is_installed, openvino_module; "
        "assert is_installed(); assert openvino_module().Core; "
        "assert sys.modules['openvino_telemetry'] is None; print(threading.active_count())"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["1"]
