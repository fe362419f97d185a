"""How long routing takes: encoding plus decision, one prompt at a time and in batches.

Owns the measurement behind `coe bench route`. Every prompt is new, so the encoder's cache never answers. Knows nothing
about quality; that is `evaluate`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from router.artefact import DEFAULT_FOLDER, Artefact
from router.router import TextEncoder
from router.scores import score

__all__ = ["Latency", "add_arguments", "measure_latency", "run"]

WORDS = ("river", "sum", "table", "patient", "court", "market", "verb", "cipher", "story", "city", "clause", "vector")
WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per prompt, encoding and scoring."""

    num_words: int
    batch_size: int
    num_threads: int
    p50_ms: float
    p99_ms: float


def made_up_prompts(num: int, num_words: int, seed: int) -> list[str]:
    """Return prompts of so many words, about as many tokens, no two alike."""
    rng = np.random.default_rng(seed)
    return [f"{number} " + " ".join(rng.choice(WORDS, num_words - 1)) for number in range(num)]


def measure_latency(
    artefact: Artefact, device: str, num_words: int, batch_size: int, num_threads: int, num_calls: int = 200
) -> Latency:
    """Return the time per prompt over `num_calls` calls after a warm-up."""
    import torch

    from router.encoder import Encoder

    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        encoder = Encoder(artefact.encoder_source, device=device, batch_size=batch_size, cache_size=0)
        prompts = made_up_prompts((num_calls + WARM_UP) * batch_size, num_words, seed=0)
        times = [timed(artefact, encoder, prompts[at : at + batch_size]) for at in range(0, len(prompts), batch_size)]
    finally:
        torch.set_num_threads(before)
    per_prompt = np.array(times[WARM_UP:]) * 1e3 / batch_size
    p50, p99 = np.quantile(per_prompt, [0.5, 0.99]).tolist()
    return Latency(num_words, batch_size, num_threads, p50, p99)


def timed(artefact: Artefact, encoder: TextEncoder, prompts: Sequence[str]) -> float:
    """Return the seconds that encoding and scoring take."""
    start = time.perf_counter()
    score(artefact, encoder.encode(prompts), prompts)
    return time.perf_counter() - start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe bench route`."""
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def run(args: argparse.Namespace) -> int:
    """Run `coe bench route`; returns the exit code."""
    artefact = Artefact.load(args.artefact or DEFAULT_FOLDER)
    rows = [
        measure_latency(artefact, args.device, num_words, batch_size, args.threads, args.calls // batch_size + 1)
        for num_words, batch_size in ((20, 1), (100, 1), (100, 16), (250, 1))
    ]
    print(f"{'words':>6} {'batch':>6} {'threads':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for row in rows:
        print(f"{row.num_words:6} {row.batch_size:6} {row.num_threads:8} {row.p50_ms:8.2f} {row.p99_ms:8.2f}")
    text = json.dumps({"encoder": artefact.encoder_id, "device": args.device, "latency": [asdict(row) for row in rows]})
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0
