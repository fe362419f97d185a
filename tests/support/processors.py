"""Runtimes that find other facts about this machine's processor than are true."""

from __future__ import annotations

from dataclasses import replace

import pytest

import coe.assembly.wire
from coe.assembly.processor import Processor, processor_of

__all__ = ["fake_processor"]


def fake_processor(monkeypatch: pytest.MonkeyPatch, *, device: str | None = None, **facts: bool) -> None:
    """Replace facts of the processor that a runtime is wired for, on every device or on one."""

    def faked(found: str) -> Processor:
        processor = processor_of(found)
        return replace(processor, **facts) if device in (None, found) else processor

    monkeypatch.setattr(coe.assembly.wire, "processor_of", faked)
