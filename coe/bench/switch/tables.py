"""What `coe bench switch` prints: cases, ceilings, overlap, traffic and sharing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from coe.bench.report import table
from coe.bench.switch.ceilings import Ceilings

__all__ = ["ceilings_line", "print_result"]


def ceilings_line(ceilings: Ceilings) -> str:
    facts = {name.replace("_", " "): value for name, value in asdict(ceilings).items() if value}
    return "ceilings: " + ", ".join(f"{name} {value / 1e9:.2f} GB/s" for name, value in facts.items())


def print_result(result: dict[str, Any]) -> None:
    print(_table(result["cases"]))
    if "overlap" in result:
        _print_overlap(result["overlap"])
    for row in result.get("traffic", ()):
        print(
            f"mixed traffic, {row['policy']}: first token p50 {row['first_token_ms_p50']:.0f} ms, p95 "
            f"{row['first_token_ms_p95']:.0f} ms, {row['loaded_bytes'] / 1e9:.1f} GB moved, {row['took_s']:.1f} s"
        )
    if "sharing" in result:
        print(_sharing_table(result["sharing"]))
    compared, different = result["num_outputs_compared"], result["num_outputs_different"]
    agreeing = ", ".join(result["rivals_with_same_token"]) or "no rival"
    print(f"first tokens compared: {compared}, different: {different}; the same from: {agreeing}")


def _print_overlap(overlap: dict[str, Any]) -> None:
    for row in overlap["capped_copy_link"]:
        print(
            f"copy link capped to {row['copy_over_prefill']:g} x prefill: "
            f"first token {row['first_token_ms_p50']:.1f} ms, "
            f"max(copy, prefill) + one unit {row['bound_ms']:.1f} ms, ratio {row['over_bound']:.3f}"
        )
    beside = overlap["beside_a_load"]
    print(
        f"warm expert's p95 between tokens: alone {beside['alone_ms_p95']:.1f} ms, beside a load from a disk of "
        f"{beside['disk_bytes_per_s'] / 1e6:.0f} MB/s {beside['beside_ms_p95']:.1f} ms, ratio {beside['ratio']:.3f}"
    )


def _sharing_table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("experts that share a base", "sharing", "MB read", "MB copied", "MB in host", "MB on device")
    cells = [
        (
            f"{row['num_experts']} x {row['expert_bytes'] / 1e6:.0f} MB, {row['what']}",
            "on" if name == "with_sharing" else "off",
            *(f"{row[name][key] / 1e6:.1f}" for key in ("read_bytes", "copied_bytes", "host_bytes", "device_bytes")),
        )
        for row in rows
        for name in ("with_sharing", "without_sharing")
    ]
    return table(heads, cells)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("case", "ready ms p50", "p95", "first token ms p50", "p95", "MB", "GB/s", "of ceiling", "hidden")
    cells = [
        (
            row["case"],
            f"{row['ready_ms_p50']:.2f}",
            f"{row['ready_ms_p95']:.2f}",
            f"{row['first_token_ms_p50']:.1f}",
            f"{row['first_token_ms_p95']:.1f}",
            f"{row['bytes'] / 1e6:.0f}" if row["bytes"] else "-",
            f"{row['bytes_per_s'] / 1e9:.2f}" if row["bytes_per_s"] else "-",
            f"{row['fraction_of_ceiling']:.0%}" if row["fraction_of_ceiling"] else "-",
            f"{row['hidden_share']:.0%}" if row["hidden_share"] is not None else "-",
        )
        for row in rows
    ]
    return table(heads, cells)
