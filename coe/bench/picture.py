"""Pictures of results: the one place that knows matplotlib, which is optional.

Whoever has something to draw hands in a function that paints on a matplotlib Figure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["draw"]

DOTS_PER_INCH = 120


def draw(pictures: Mapping[Path, Callable[[Any], None]]) -> None:
    """Paint a figure for each PNG file. Without matplotlib, say on stderr which extra has it and draw nothing."""
    if not pictures:
        return
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        files = ", ".join(str(file) for file in pictures)
        print(f"not drawn: {files}: {error}; for pictures, pip install 'coe-serve[bench]'", file=sys.stderr)
        return
    for file, paint in pictures.items():
        figure = Figure(layout="constrained")
        paint(figure)
        figure.savefig(file, dpi=DOTS_PER_INCH)
