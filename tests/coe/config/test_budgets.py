"""Budgets: what is named is kept to, what is not is derived, and what leaves nothing for weights is refused."""

from __future__ import annotations

import logging

import pytest

import coe.config.budgets
from coe.config.budgets import PROCESS_BYTES, Budgets, derive_budgets
from coe.config.schema import CacheConfig, EngineConfig
from coe.errors import ConfigError

GB = 10**9


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 100 GB to spare."""
    monkeypatch.setattr(coe.config.budgets, "_available_bytes", lambda: 100 * GB)


def budgets(device: str, host: int | None = None, own: int | None = None, kv: int | None = None) -> Budgets:
    return derive_budgets(CacheConfig(host_bytes=host, device_bytes=own), EngineConfig(kv_bytes=kv), device)


def test_weights_and_kv_of_a_cpu_share_one_budget() -> None:
    found = budgets("cpu", host=10 * GB)
    assert found.host_bytes == found.device_bytes
    assert found.host_bytes + found.kv_bytes == 10 * GB
    assert found.kv_bytes == 2 * GB


def test_a_cpu_keeps_to_the_smaller_of_two_budgets() -> None:
    assert budgets("cpu", host=10 * GB, own=4 * GB) == budgets("cpu", host=4 * GB) == budgets("cpu", own=4 * GB)


def test_a_device_splits_its_own_budget_and_the_host_keeps_all_of_its() -> None:
    assert budgets("emulated", host=10 * GB, own=5 * GB, kv=GB) == Budgets(10 * GB, 4 * GB, GB)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_what_is_not_named_is_derived_and_fits_the_machine(device: str) -> None:
    found = budgets(device)
    total = found.kv_bytes + found.device_bytes + (found.host_bytes if device == "emulated" else 0)
    assert 0 < found.kv_bytes < found.device_bytes
    assert total < 100 * GB


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_kv_that_leaves_nothing_for_weights_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=r"kv_bytes = 5,000,000,000.*lower it"):
        budgets(device, host=4 * GB, own=4 * GB, kv=5 * GB)


def test_weights_kv_and_captured_steps_of_a_gpu_are_its_budget() -> None:
    cache = CacheConfig(host_bytes=10 * GB, device_bytes=20 * GB)
    found = derive_budgets(cache, EngineConfig(), "cuda")
    assert found.device_bytes + found.kv_bytes + found.graph_bytes == 20 * GB
    assert 0 < found.graph_bytes < found.kv_bytes
    assert derive_budgets(cache, EngineConfig(graph_bytes=GB), "cuda").graph_bytes == GB
    without = derive_budgets(cache, EngineConfig(cuda_graphs=False), "cuda")
    assert (without.graph_bytes, without.device_bytes + without.kv_bytes) == (0, 20 * GB)
    with pytest.raises(ConfigError, match=r"kv_bytes = .* and graph_bytes = 17,000,000,000 leave nothing"):
        derive_budgets(cache, EngineConfig(graph_bytes=17 * GB), "cuda")


def test_memory_of_this_machine_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (coe.config.budgets._available_bytes() or 0) > 1 << 20


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_a_container_gets_budgets_within_what_it_may_still_take(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(coe.config.budgets, "available_memory_bytes", lambda: GB)
    found = budgets(device)
    total = found.kv_bytes + found.device_bytes + (found.host_bytes if device == "emulated" else 0)
    assert 0 < total <= 0.6 * (GB - PROCESS_BYTES)
    monkeypatch.setattr(coe.config.budgets, "available_memory_bytes", lambda: PROCESS_BYTES)
    with pytest.raises(ConfigError, match="raise its limit"):
        budgets(device)


def test_a_system_that_does_not_say_its_memory_needs_named_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coe.config.budgets, "_available_bytes", lambda: None)
    assert budgets("cpu", host=GB).host_bytes > 0
    assert budgets("emulated", host=GB, own=GB).host_bytes == GB
    with pytest.raises(ConfigError, match=r"name \[cache\] host_bytes"):
        budgets("cpu")


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_a_named_budget_beyond_the_memory_is_kept_and_said(caplog: pytest.LogCaptureFixture, device: str) -> None:
    with caplog.at_level(logging.WARNING, "coe"):
        assert budgets(device, host=100 * GB, own=100 * GB) is not None
        assert not caplog.records
        assert budgets(device, host=101 * GB, own=102 * GB).host_bytes > 80 * GB
    assert len(caplog.records) == 1
    assert "101000000000 bytes where 100000000000 are available" in caplog.text
