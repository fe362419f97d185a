"""Records what a running server answers, and compares two records: the net under a change that should change nothing.

    python tests/support/answers_record.py record http://127.0.0.1:8000 before.json
    python tests/support/answers_record.py compare before.json after.json

A record holds greedy tokens of every expert, one at a time and all at once, what each switch moved, and where prompts
are routed. It speaks HTTP alone, so both commits are asked by the same program. With memory for all experts switch
bytes must be equal; where experts are evicted they vary from run to run of one commit too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

PROMPTS = (
    "What is the capital of France?",
    "Write a Python function that reverses a string.",
    "Natalia sold 48 clips in April and half as many in May. How many altogether?",
    "Explain how a heat pump works to a ten year old.",
    "List three causes of the French revolution.",
    "Translate into German: Good morning, how are you today?",
    "SELECT all customers from Paris, grouped by name.",
    "Tell me a story about a lighthouse keeper.",
)
MAX_TOKENS = 40
Row = dict[str, Any]


def record(url: str) -> dict[str, list[Row]]:
    """Ask a server everything that a record holds."""
    with httpx.Client(base_url=url, timeout=600) as client:
        experts = [model["id"] for model in client.get("/v1/models").raise_for_status().json()["data"]]
        experts.remove("coe")
        cases = [(expert, prompt) for prompt in PROMPTS for expert in experts]
        alone = [answer(client, *case) for case in cases]
        with ThreadPoolExecutor(16) as pool:
            together = list(pool.map(lambda case: answer(client, *case), cases))
        return {"alone": alone, "together": together, "routed": [decision(client, prompt) for prompt in PROMPTS]}


def answer(client: httpx.Client, expert: str, prompt: str) -> Row:
    body = client.post(
        "/v1/chat/completions",
        json={
            "model": expert,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "logprobs": True,
        },
    )
    said = body.raise_for_status().json()
    switch = said["coe"]["switch"]
    return {
        "expert": expert,
        "prompt": prompt,
        "tokens": [token["bytes"] for token in said["choices"][0]["logprobs"]["content"]],
        "switch": [switch["kind"], switch["loaded_bytes"]],
    }


def decision(client: httpx.Client, prompt: str) -> Row:
    body = {"model": "coe", "messages": [{"role": "user", "content": prompt}]}
    said = client.post("/v1/route", json=body).raise_for_status().json()
    return {key: said[key] for key in ("expert", "category", "confidence", "why", "probabilities", "nearest")}


def compare(before: dict[str, list[Row]], after: dict[str, list[Row]]) -> Iterator[str]:
    """Yield one line per kind of answer: how many are equal."""
    kinds: tuple[tuple[str, str, Callable[[Row], object]], ...] = (
        ("tokens, one at a time", "alone", lambda row: row["tokens"]),
        ("tokens, all at once", "together", lambda row: row["tokens"]),
        ("switch kind and bytes", "alone", lambda row: row["switch"]),
        ("decisions", "routed", lambda row: row),
    )
    for name, part, value in kinds:
        pairs = list(zip(before[part], after[part], strict=True))
        equal = sum(value(one) == value(other) for one, other in pairs)
        yield f"{name}: {equal} of {len(pairs)} equal"


def main(command: str, *names: str) -> None:
    if command == "record":
        url, out = names
        Path(out).write_text(json.dumps(record(url), indent=1))
    else:
        print(*compare(*(json.loads(Path(name).read_text()) for name in names)), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
