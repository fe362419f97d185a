"""The measured bandwidth of a link."""

from __future__ import annotations

import pytest

from coe.weights.residency.bandwidth import Bandwidth


def test_bandwidth_counts_busy_time_once_and_forgets_its_guess() -> None:
    link = Bandwidth(1e12)
    assert link.note(1000, 10.0, 11.0) == 1.0
    assert link.note(1000, 10.5, 12.0) == 1.0, "half a second of it another transfer was moving too"
    assert link.note(1000, 11.0, 11.5) == 0.0
    for second in range(20, 60):
        link.note(500, float(second), second + 1.0)
    assert link.bytes_per_s == pytest.approx(500, rel=0.01)
