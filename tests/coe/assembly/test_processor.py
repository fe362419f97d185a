"""What the processor has, and which device is taken."""

from __future__ import annotations

import pytest
import torch

from coe.assembly.processor import choose_device, processor_of
from coe.errors import ConfigError


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device("cuda")
    assert choose_device("auto") == "cpu"
    assert choose_device("emulated") == "emulated"


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_native_bfloat16_is_what_torch_sees(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    for device in ("cpu", "emulated"):
        assert processor_of(device).has_bfloat16 is expected
        assert processor_of(device).device.type == "cpu"
