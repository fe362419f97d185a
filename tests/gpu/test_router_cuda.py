"""The router's encoder on a GPU: the vectors of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import TEXTS, write_model

from router.encoding.encoder import Encoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_vectors_are_those_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda: "float32")
    folder = str(write_model(tmp_path / "model"))
    on_cpu, on_gpu = Encoder(folder), Encoder(folder, device="cuda")
    assert on_cpu.id == on_gpu.id
    np.testing.assert_allclose(on_gpu.encode(TEXTS), on_cpu.encode(TEXTS), atol=1e-4)
    alone = np.vstack([Encoder(folder, device="cuda").encode([text]) for text in TEXTS])
    np.testing.assert_allclose(on_gpu.encode(TEXTS), alone, atol=1e-5)
