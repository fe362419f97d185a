"""The documentation itself: links point to what exists, and every decision carries a state and stands in the index.

Covered: relative links and their anchors in README.md and docs/**/*.md. Not covered: addresses on the web, paths that
are named without a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = ROOT / "docs" / "decisions"
MEASUREMENTS = DECISIONS / "measurements.md"
TOPICS = sorted(set(DECISIONS.glob("*.md")) - {DECISIONS / "README.md", MEASUREMENTS})

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
STATE = re.compile(r"\*(In force|Superseded by \[[^\]]+\]\([^)]+\)).* · \d{4}-\d\d-\d\d\*")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose_of(page: Path) -> str:
    """Return the page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors_of(page: Path) -> set[str]:
    return {anchor_of(heading) for heading in HEADING.findall(prose_of(page))}


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            yield f"{name_of(page)}: {link}"


def entries_of(page: Path) -> list[tuple[str, str]]:
    """Return the heading of each entry and the line below it."""
    lines = prose_of(page).splitlines()
    return [(line[3:], below) for line, below in zip(lines, [*lines[1:], ""], strict=True) if line.startswith("## ")]


def test_relative_links_point_to_files_and_headings_that_exist() -> None:
    assert not [link for page in PAGES for link in broken_links(page)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_no_heading_twice(page: Path) -> None:
    """GitHub would number the second one's anchor."""
    anchors = [anchor_of(heading) for heading in HEADING.findall(prose_of(page))]
    assert len(anchors) == len(set(anchors))


@pytest.mark.parametrize("page", TOPICS, ids=name_of)
def test_every_decision_carries_a_state_and_a_date(page: Path) -> None:
    entries = entries_of(page)
    assert entries
    assert [heading for heading, below in entries if not STATE.fullmatch(below)] == []


def test_the_index_names_every_decision_with_its_state() -> None:
    listed = re.findall(
        r"^- \[(.+?)\]\((\S+)\) · (in force|superseded)", prose_of(DECISIONS / "README.md"), re.MULTILINE
    )
    expected = {
        (heading, f"{page.name}#{anchor_of(heading)}", "in force" if below.startswith("*In force") else "superseded")
        for page in TOPICS
        for heading, below in entries_of(page)
    }
    assert set(listed) == expected


def test_every_measurement_is_linked_from_a_decision() -> None:
    links = {link for page in TOPICS for link in LINK.findall(prose_of(page))}
    sections = {heading for heading, _ in entries_of(MEASUREMENTS)}
    assert {heading for heading in sections if f"measurements.md#{anchor_of(heading)}" not in links} == set()
