"""Every benchmark has its own arguments, added by its own module."""

from __future__ import annotations

import pytest

from coe.cli import main

OPTIONS = {"engine": "--no-transformers", "switch": "--sections", "policy": "--seeds", "route": "--calls"}


@pytest.mark.parametrize("benchmark", OPTIONS)
def test_every_benchmark_has_its_own_options(benchmark: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", benchmark, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert OPTIONS[benchmark] in shown
    assert ("--config" in shown) is (benchmark in ("engine", "switch"))
