"""The test rows of the demo's experts as labelled prompts for `coe router score`.

Owns nothing but the translation: a row's domain is its category, its gold answer (or, where the likelihood is what
counts, the whole reference) what it is judged by. Knows nothing about experts.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .rows import DEFAULT_DATA, Row, load_rows, shipped


def labelled(row: Row) -> dict[str, str]:
    """A row as `coe router score` reads it."""
    answer = row.answer if row.check == "loss" else row.gold
    return {"id": row.id, "category": row.expert, "prompt": row.prompt, "check": row.check, "answer": answer}


def main(arguments: Sequence[str]) -> None:
    """Writes one line per row."""
    parser = argparse.ArgumentParser(prog="labelled_set", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("domains", nargs="*", help="default: every adapter there is")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    rows = load_rows(options.data, experts=options.domains or shipped(), split="test")
    lines = [json.dumps(labelled(row), ensure_ascii=False) + "\n" for row in rows]
    options.out.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
