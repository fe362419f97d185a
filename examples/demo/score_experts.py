"""The demo's tables: each expert against the base on its own domain, and the routed composition against the base.

Owns what is compared, the intervals and the summary in scores.json. The router's choices come in as a file of
{"id": …, "expert": …} lines (choose_experts.py writes it), so nothing here knows how a prompt was routed. Scores are
in 0 … 1 for every check (exp of minus the mean NLL per token where it is `loss`), so that a mean over domains means
something.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from coe.tables import cache_dir

from .bootstrap import NUM_RESAMPLES, Interval, bootstrap
from .build import demo_folder
from .rows import DEFAULT_DATA, REPOSITORY, Row, load_rows
from .scorebook import GENERAL, HERE, Scorebook, fingerprint

SEED = 0
SUMMARY = HERE / "scores.json"
PACKAGES = ("torch", "transformers", "peft", "numpy")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems on the rows of one domain; `beats_base` means that the whole interval is above zero."""

    check: str
    num_rows: int
    base: float
    expert: float
    difference: float
    low: float
    high: float
    beats_base: bool
    base_nll: float | None = None
    expert_nll: float | None = None


@dataclass(frozen=True, slots=True)
class Routed:
    """The composition against the base over several domains; `share_own` is how often a domain's own expert ran."""

    domains: dict[str, Comparison]
    chosen: dict[str, dict[str, int]]
    share_own: float
    base: float
    composition: float
    own_expert: float
    difference: float
    low: float
    high: float


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def mean_nll(results: Sequence[Any]) -> float | None:
    """Mean over rows, None where the check is not `loss`."""
    values = [result.nll for result in results if result.nll is not None]
    return round(mean(values), 4) if values else None


def compare(rows: Sequence[Row], base: Mapping[str, Any], other: Mapping[str, Any]) -> Comparison:
    """Other minus base on the same rows, with a 95 % paired bootstrap interval."""
    before, after = [base[row.id] for row in rows], [other[row.id] for row in rows]
    gain = bootstrap([[b.score - a.score for a, b in zip(before, after, strict=True)]], seed=SEED)
    return Comparison(
        check=rows[0].check,
        num_rows=len(rows),
        base=round(mean([result.score for result in before]), 4),
        expert=round(mean([result.score for result in after]), 4),
        **rounded(gain),
        beats_base=gain.low > 0,
        base_nll=mean_nll(before),
        expert_nll=mean_nll(after),
    )


def rounded(gain: Interval) -> dict[str, Any]:
    """An interval as the fields of a comparison."""
    return {"difference": round(gain.mean, 4), "low": round(gain.low, 4), "high": round(gain.high, 4)}


def by_domain(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each domain, in order."""
    return {domain: [row for row in rows if row.expert == domain] for domain in dict.fromkeys(r.expert for r in rows)}


def compare_experts(book: Scorebook, rows: Sequence[Row]) -> dict[str, Comparison]:
    """Each domain's own expert against the base."""
    base = book.results(GENERAL, rows)
    return {domain: compare(own, base, book.results(domain, own)) for domain, own in by_domain(rows).items()}


def read_choices(path: Path) -> dict[str, str]:
    """Row id to expert, as the router chose."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {choice["id"]: choice["expert"] for choice in map(json.loads, lines)}


def routed_results(book: Scorebook, rows: Sequence[Row], choices: Mapping[str, str]) -> dict[str, Any]:
    """The result of the chosen expert on every row."""
    unrouted = [row.id for row in rows if row.id not in choices]
    if unrouted:
        raise ValueError(f"{len(unrouted)} rows have no choice, the first is {unrouted[0]}: route the same rows again")
    found: dict[str, Any] = {}
    for expert in sorted({choices[row.id] for row in rows}):
        mine = [row for row in rows if choices[row.id] == expert]
        results = book.results(expert, mine)
        found |= {row.id: results[row.id] for row in mine}
    return found


def counted(experts: Sequence[str]) -> dict[str, int]:
    """How often each expert was chosen, most often first."""
    return dict(sorted(((name, experts.count(name)) for name in set(experts)), key=lambda item: (-item[1], item[0])))


def compare_routed(book: Scorebook, rows: Sequence[Row], choices: Mapping[str, str]) -> Routed:
    """Every row answered by the expert that was chosen for it, macro-averaged over the domains."""
    base, routed = book.results(GENERAL, rows), routed_results(book, rows, choices)
    domains = {domain: compare(own, base, routed) for domain, own in by_domain(rows).items()}
    own_scores = {d: mean([book.results(d, own)[row.id].score for row in own]) for d, own in by_domain(rows).items()}
    gains = [[routed[row.id].score - base[row.id].score for row in own] for own in by_domain(rows).values()]
    gain = bootstrap(gains, seed=SEED)
    return Routed(
        domains=domains,
        chosen={d: counted([choices[row.id] for row in own]) for d, own in by_domain(rows).items()},
        share_own=round(mean([float(choices[row.id] == row.expert) for row in rows]), 4),
        base=round(mean([comparison.base for comparison in domains.values()]), 4),
        composition=round(mean([comparison.expert for comparison in domains.values()]), 4),
        own_expert=round(mean(list(own_scores.values())), 4),
        **rounded(gain),
    )


def commit() -> str:
    """The commit of the checkout, `unknown` outside of one."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def hardware(device: torch.device) -> str:
    """The accelerator's name, or the processor and the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.split(":")[1].strip() for line in cpu_lines() if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s)"


def cpu_lines() -> list[str]:
    """Lines that describe the processor, on Linux."""
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def line(name: str, comparison: Comparison) -> str:
    """One row of the printed table."""
    c = comparison
    return (
        f"{name:<10} {c.check:<15} {c.num_rows:>5} {c.base:>7.3f} {c.expert:>7.3f} {c.difference:>+8.3f} "
        f"[{c.low:+.3f}, {c.high:+.3f}] {'better' if c.beats_base else 'NOT better'}"
    )


def show(title: str, comparisons: Mapping[str, Comparison]) -> None:
    """Prints a table."""
    print(f"\n{title}\n{'domain':<10} {'check':<15} {'rows':>5} {'base':>7} {'system':>7} {'diff':>8} 95 % interval")
    for name, comparison in comparisons.items():
        print(line(name, comparison))


def show_routed(routed: Routed) -> None:
    """Prints the composition's table and its macro average."""
    show("routed composition", routed.domains)
    print(
        f"macro average: base {routed.base:.3f}, composition {routed.composition:.3f} "
        f"({routed.difference:+.3f} [{routed.low:+.3f}, {routed.high:+.3f}]), own experts {routed.own_expert:.3f}; "
        f"own expert chosen for {routed.share_own:.1%} of the rows"
    )


def shipped(adapters: Path) -> list[str]:
    """The experts whose adapters lie in the folder."""
    return sorted(file.parent.name for file in adapters.glob("*/adapter_config.json"))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="score_experts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("experts", nargs="*", help="default: every adapter there is")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--adapters", type=Path, default=HERE / "adapters")
    parser.add_argument("--choices", type=Path, help="the router's choices as JSON lines: scores the composition too")
    parser.add_argument("--out", type=Path, help="write the summary here as JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Scores, prints the tables, and writes the summary if asked to."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    rows = load_rows(options.data, experts=options.experts or shipped(options.adapters), split="test")
    book = Scorebook(demo_folder(options.cache), options.adapters, options.cache / "demo" / "scores", device)
    comparisons = compare_experts(book, rows)
    show("experts on their own domain", comparisons)
    routed = compare_routed(book, rows, read_choices(options.choices)) if options.choices else None
    if routed:
        show_routed(routed)
    summary = {
        "experts": {name: asdict(comparison) for name, comparison in comparisons.items()},
        "routed": asdict(routed) if routed else None,
        "seed": SEED,
        "num_resamples": NUM_RESAMPLES,
        "commit": commit(),
        "hardware": hardware(device),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "data_fingerprint": fingerprint([options.data]),
    }
    if options.out:
        options.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary))


if __name__ == "__main__":
    main(sys.argv[1:])
