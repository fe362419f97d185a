"""The section of `coe bench route` about time: its arguments, what is measured for them, table and picture.

Owns which routers are timed: the one given or shipped, and for every further encoder one that is first trained on the
authored prompts, so that its decisions cost what a trained router's cost. Knows nothing about where results are
written.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from router.encoding.encoder import Encoder
from router.evaluation.latency import Latency, measure_latency
from router.labelled.authored import authored_prompts
from router.model.artefact import Artefact, load_artefact
from router.training.train import train

__all__ = ["LatencyReport", "add_arguments", "measure"]

LENGTHS = (10, 100, 500)


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Measurements as a table, as JSON and as a picture."""

    latencies: tuple[Latency, ...]
    name: str = "latency"
    headers: tuple[str, ...] = (
        "encoder",
        "arithmetic",
        "threads",
        "tokens",
        "read",
        "ceiling ms",
        "encode p50 ms",
        "p99",
        "of ceiling",
        "decide p50 ms",
        "p99",
        "both p50 ms",
        "p99",
    )

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One row of cells per measurement."""
        return [cells(latency) for latency in self.latencies]

    @property
    def figures(self) -> list[dict[str, Any]]:
        """One object per measurement; lengths in tokens, times in milliseconds."""
        return [asdict(each) | {"fraction_of_ceiling": each.fraction_of_ceiling} for each in self.latencies]

    def draw(self, axes: Any) -> None:
        """Draw medians against length, and each encoder's ceiling."""
        for encoder in dict.fromkeys(each.encoder for each in self.latencies):
            those = [each for each in self.latencies if each.encoder == encoder]
            lengths = [each.num_tokens for each in those]
            (line,) = axes.plot(lengths, [each.both.p50_ms for each in those], marker="o", label=f"{encoder}, p50")
            p99 = [each.both.p99_ms for each in those]
            axes.plot(lengths, p99, marker="_", linestyle=":", color=line.get_color(), label=f"{encoder}, p99")
            if None not in (ceilings := [each.ceiling_ms for each in those]):
                axes.plot(lengths, ceilings, linestyle="--", color=line.get_color(), label=f"{encoder}, bare products")
        axes.set(xscale="log", yscale="log", xlabel="tokens of the prompt", ylabel="encode and decide, ms")
        axes.legend(fontsize="small")
        axes.grid(which="both", alpha=0.3)


def cells(latency: Latency) -> tuple[str, ...]:
    """Return one row of the table."""
    ceiling, fraction = latency.ceiling_ms, latency.fraction_of_ceiling
    return (
        latency.encoder,
        latency.arithmetic,
        str(latency.num_threads),
        str(latency.num_tokens),
        str(latency.num_tokens_read),
        "-" if ceiling is None else f"{ceiling:.2f}",
        f"{latency.encode.p50_ms:.3f}",
        f"{latency.encode.p99_ms:.3f}",
        "-" if fraction is None else f"{fraction:.0%}",
        f"{latency.decide.p50_ms:.3f}",
        f"{latency.decide.p99_ms:.3f}",
        f"{latency.both.p50_ms:.3f}",
        f"{latency.both.p99_ms:.3f}",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the latency section."""
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument(
        "--encoder", action="append", default=[], help="time this encoder too, for example wordllama (repeatable)"
    )
    parser.add_argument("--device", default="cpu", help="where the encoders run (default cpu)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--tokens", type=int, nargs="+", default=LENGTHS, help="prompt lengths (default 10 100 500)")
    parser.add_argument("--calls", type=int, default=300, help="prompts per length (default 300)")


def measure(arguments: argparse.Namespace, seed: int) -> LatencyReport:
    """Measure every encoder at every length.

    Raises:
        ValueError: a length, or a number of calls or threads, that is too small.
    """
    check(vars(arguments))
    artefacts = [load_artefact(arguments.artefact)]
    artefacts += [trained_on_authored_prompts(source, arguments.device) for source in arguments.encoder]
    return LatencyReport(
        tuple(
            latency
            for artefact in artefacts
            for latency in measure_latency(
                artefact,
                arguments.tokens,
                device=arguments.device,
                num_threads=arguments.threads,
                num_calls=arguments.calls,
                seed=seed,
            )
        )
    )


def check(values: Mapping[str, Any]) -> None:
    """Raises ValueError for a count that is too small."""
    counts: Sequence[tuple[str, int]] = [("tokens", num) for num in values["tokens"]]
    for name, num in [*counts, ("threads", values["threads"]), ("calls", values["calls"])]:
        least = 4 if name == "tokens" else 1
        if num < least:
            raise ValueError(f"--{name} {num}: must be at least {least}")


def trained_on_authored_prompts(source: str, device: str) -> Artefact:
    return train(authored_prompts(), Encoder(source, device=device))
