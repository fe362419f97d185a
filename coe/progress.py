"""Progress bars on stderr, drawn by tqdm, and sizes in words. Only what talks to people at a terminal imports this."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["import_bars", "in_gib", "in_mb", "row_bar"]


@contextmanager
def import_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function of (what is being done, bytes done, bytes in all) that draws a bar for each thing being done."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def show(what: str, done: int, total: int) -> None:
        if not total:  # only said to be under way
            return
        if what not in bars:
            bars[what] = tqdm(total=total, desc=what, unit="B", unit_scale=True, file=sys.stderr, mininterval=0.5)
        bars[what].update(done - bars[what].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


@contextmanager
def row_bar(what: str, done: int, total: int) -> Iterator[Callable[[], None]]:
    """Give a function to call after each row; its bar shows how many of `total` rows are done, `done` at the start."""
    from tqdm import tqdm

    with tqdm(total=total, initial=done, desc=what, unit="row", file=sys.stderr, mininterval=0.5) as bar:

        def one_more() -> None:
            bar.update(1)

        yield one_more


def in_gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"


def in_mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
