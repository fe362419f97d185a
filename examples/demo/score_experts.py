"""The demo's tables: each expert against the base on its own domain, and the routed composition against the base.

Owns what is compared, the intervals and the summary in scores.json. Scores come in as the table of `coe router score`,
the router's choices as a file of {"id": …, "expert": …} lines (choose_experts.py writes it), so nothing here knows how
a prompt was answered or routed. Scores are in 0 … 1 for every check (exp of minus the mean NLL per token where it is
`loss`), so that a mean over domains means something.
"""

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coe.machine.record import this_machine

from .bootstrap import NUM_RESAMPLES, Interval, bootstrap
from .score_rows import ScoreRow, read_score_rows

SEED = 0
GENERAL = "general"
PACKAGES = ("torch", "transformers", "numpy")


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


def mean_nll(rows: Sequence[ScoreRow], experts: Sequence[str]) -> float | None:
    """Mean over rows, each answered by its own expert; None where the check is not `loss`."""
    values = [nll for row, expert in zip(rows, experts, strict=True) if (nll := row.nll(expert)) is not None]
    return round(mean(values), 4) if values else None


def gains(rows: Sequence[ScoreRow], experts: Sequence[str]) -> list[float]:
    """Score of each row's expert minus the base's."""
    return [row.scores[expert] - row.scores[GENERAL] for row, expert in zip(rows, experts, strict=True)]


def compare(rows: Sequence[ScoreRow], experts: Sequence[str]) -> Comparison:
    """Each row's expert minus the base on the same rows, with a 95 % paired bootstrap interval."""
    gain = bootstrap([gains(rows, experts)], seed=SEED)
    return Comparison(
        check=rows[0].check,
        num_rows=len(rows),
        base=round(mean([row.scores[GENERAL] for row in rows]), 4),
        expert=round(mean([row.scores[expert] for row, expert in zip(rows, experts, strict=True)]), 4),
        **rounded(gain),
        beats_base=gain.low > 0,
        base_nll=mean_nll(rows, [GENERAL] * len(rows)),
        expert_nll=mean_nll(rows, experts),
    )


def rounded(gain: Interval) -> dict[str, Any]:
    """An interval as the fields of a comparison."""
    return {"difference": round(gain.mean, 4), "low": round(gain.low, 4), "high": round(gain.high, 4)}


def by_domain(rows: Sequence[ScoreRow]) -> dict[str, list[ScoreRow]]:
    """The rows of each domain, in order."""
    return {domain: [row for row in rows if row.domain == domain] for domain in dict.fromkeys(r.domain for r in rows)}


def compare_experts(rows: Sequence[ScoreRow]) -> dict[str, Comparison]:
    """Each domain's own expert against the base."""
    return {domain: compare(own, [domain] * len(own)) for domain, own in by_domain(rows).items()}


def read_choices(path: Path) -> dict[str, str]:
    """Row id to expert, as the router chose."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {choice["id"]: choice["expert"] for choice in map(json.loads, lines)}


def counted(experts: Sequence[str]) -> dict[str, int]:
    """How often each expert was chosen, most often first."""
    return dict(sorted(((name, experts.count(name)) for name in set(experts)), key=lambda item: (-item[1], item[0])))


def compare_routed(rows: Sequence[ScoreRow], choices: Mapping[str, str]) -> Routed:
    """Every row answered by the expert that was chosen for it, macro-averaged over the domains."""
    unrouted = [row.id for row in rows if row.id not in choices]
    if unrouted:
        raise ValueError(f"{len(unrouted)} rows have no choice, the first is {unrouted[0]}: route the same rows again")
    chosen = {domain: [choices[row.id] for row in own] for domain, own in by_domain(rows).items()}
    domains = {domain: compare(own, chosen[domain]) for domain, own in by_domain(rows).items()}
    own_scores = [mean([row.scores[domain] for row in own]) for domain, own in by_domain(rows).items()]
    gain = bootstrap([gains(own, chosen[domain]) for domain, own in by_domain(rows).items()], seed=SEED)
    return Routed(
        domains=domains,
        chosen={domain: counted(experts) for domain, experts in chosen.items()},
        share_own=round(mean([float(choices[row.id] == row.domain) for row in rows]), 4),
        base=round(mean([comparison.base for comparison in domains.values()]), 4),
        composition=round(mean([comparison.expert for comparison in domains.values()]), 4),
        own_expert=round(mean(own_scores), 4),
        **rounded(gain),
    )


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


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="score_experts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", type=Path, help="what `coe router score` wrote")
    parser.add_argument("--choices", type=Path, help="the router's choices as JSON lines: scores the composition too")
    parser.add_argument("--out", type=Path, help="write the summary here as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Prints the tables, and writes the summary if asked to."""
    options = parse(arguments)
    rows = read_score_rows(options.table)
    comparisons = compare_experts(rows)
    show("experts on their own domain", comparisons)
    routed = compare_routed(rows, read_choices(options.choices)) if options.choices else None
    if routed:
        show_routed(routed)
    machine = this_machine()
    summary = {
        "experts": {name: asdict(comparison) for name, comparison in comparisons.items()},
        "routed": asdict(routed) if routed else None,
        "seed": SEED,
        "num_resamples": NUM_RESAMPLES,
        "commit": machine.commit,
        "hardware": asdict(machine),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "data_fingerprint": hashlib.sha256(options.table.read_bytes()).hexdigest()[:12],
    }
    if options.out:
        options.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary))


if __name__ == "__main__":
    main(sys.argv[1:])
