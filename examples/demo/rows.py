"""The rows that the demo's experts are trained and scored on: read, identified, selected.

Owns the file format of expert_tuning.jsonl.gz and the identity of a row (what a router's choice refers to). Knows
nothing about models, tokens or how an answer is judged.
"""

import gzip
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
DEFAULT_DATA = REPOSITORY.parent / "shared" / "data" / "expert_tuning.jsonl.gz"

Split = Literal["train", "test"]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its reference answer; `check` names how an answer to it is judged."""

    id: str
    expert: str
    split: Split
    prompt: str
    answer: str
    gold: str
    check: str
    source: str


def shipped() -> list[str]:
    """The experts whose adapters lie beside this file."""
    return sorted(file.parent.name for file in (HERE / "adapters").glob("*/adapter_config.json"))


def row_id(expert: str, prompt: str, answer: str) -> str:
    """A name for a row that does not depend on its place in the file."""
    digest = hashlib.sha256(f"{prompt}\x00{answer}".encode()).hexdigest()
    return f"{expert}-{digest[:12]}"


def read_rows(path: Path) -> Iterator[Row]:
    """Every row of the file; raises ValueError on one that is not a single user turn with its answer."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            raw = json.loads(line)
            roles = [message["role"] for message in raw["messages"]]
            if roles != ["user", "assistant"]:
                raise ValueError(f"{path}:{number}: turns are {roles}, expected one user and one assistant turn")
            prompt, answer = (message["content"] for message in raw["messages"])
            yield Row(
                id=row_id(raw["expert"], prompt, answer),
                expert=raw["expert"],
                split=raw["split"],
                prompt=prompt,
                answer=answer,
                gold=raw["gold"],
                check=raw["check"],
                source=raw["source"],
            )


def load_rows(path: Path, *, experts: Iterable[str], split: Split) -> list[Row]:
    """The distinct rows of one split for the named experts, in file order."""
    if not path.is_file():
        raise FileNotFoundError(f"no data at {path}: pass --data with the path of expert_tuning.jsonl.gz")
    wanted = set(experts)
    chosen = {row.id: row for row in read_rows(path) if row.expert in wanted and row.split == split}
    missing = wanted - {row.expert for row in chosen.values()}
    if missing:
        raise ValueError(f"{path} has no {split} rows for {sorted(missing)}")
    return list(chosen.values())


def sample(items: Sequence[Item], count: int, *, seed: int) -> list[Item]:
    """`count` of the items (all of them when there are fewer), in a seeded random order."""
    return random.Random(seed).sample(list(items), min(count, len(items)))
