"""A proposal for people and for coe.toml: its table, its plain figures, and tables of TOML to paste.

Owns the layout. Knows nothing about how a proposal is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from router.proposals.catalogue import Catalogue
from router.proposals.proposal import Category, Proposal

__all__ = ["figures_of", "lines_of", "toml_of"]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def lines_of(found: Proposal, catalogue: Catalogue) -> list[str]:
    """Return the table: a line for each category, its terms and examples below it, and what is left over."""
    width = max([8, *(len(category.name) for category in found.categories)])
    lines = [f"{'category':{width}} {'prompts':>8} {'share':>7} {'fit':>6} {'margin':>7}  expert"]
    for each in found.categories:
        row = f"{each.name:{width}} {each.num_prompts:8} {each.share:7.1%} {each.fit:6.2f} {each.margin:7.2f}"
        lines.append(f"{row}  {each.expert or f'none; {catalogue.general} answers'}")
        lines.append(f"  {', '.join(each.terms) or 'no characteristic terms'}")
        lines += [f"  - {example}" for example in each.examples]
    if found.folded_share:
        lines.append(f"{found.folded_share:.1%} of the prompts are in groups too small for a category: general")
    for each in found.categories:
        if each.expert is None:
            lines.append(f"no expert for '{each.name}' ({each.share:.1%}): consider adding one about {about(each)}")
    if found.unused:
        lines.append(f"experts that no category goes to: {', '.join(found.unused)}")
    return lines


def about(category: Category) -> str:
    return ", ".join(category.terms) or category.name


def figures_of(found: Proposal, catalogue: Catalogue) -> dict[str, Any]:
    """Return what the JSON holds."""
    return {
        "num_prompts": len(found.assigned),
        "num_distinct": found.num_distinct,
        "folded_share": found.folded_share,
        "general": catalogue.general,
        "categories": [asdict(category) for category in found.categories],
        "descriptions": {category.name: sentence_of(category, catalogue) for category in found.categories},
        "unused_experts": list(found.unused),
        "notes": list(catalogue.notes),
    }


def sentence_of(category: Category, catalogue: Catalogue) -> str:
    """Return one sentence about a category: its terms, after what its expert says of itself."""
    told = next((entry.sentence for entry in catalogue.entries if entry.name == category.expert), "")
    requests = f"Requests about {about(category)}."
    return f"{told.rstrip('.')}. {requests}" if told else requests


def toml_of(found: Proposal, catalogue: Catalogue) -> str:
    """Return descriptions for the experts that have none, and the categories that are not called as their expert."""
    return "\n".join([*expert_tables(found, catalogue), *category_table(found, catalogue)])


def expert_tables(found: Proposal, catalogue: Catalogue) -> Iterator[str]:
    undescribed = [entry for entry in catalogue.candidates if not entry.description]
    if undescribed:
        yield "# Descriptions for experts that have none. A table of one name may stand once: add the lines to yours."
    for entry in undescribed:
        terms = [term for category in found.categories if category.expert == entry.name for term in category.terms]
        told = entry.card.paragraph or (f"Requests about {', '.join(terms[:6])}." if terms else entry.sentence)
        yield f"[experts.{key(entry.name)}]"
        if entry.source:
            yield f"source = {text(entry.source)}"
        yield f"description = {text(told)}\n"


def category_table(found: Proposal, catalogue: Catalogue) -> Iterator[str]:
    mapped = [category for category in found.categories if category.name != category.expert]
    if mapped:
        yield "# For a router trained on these categories (coe router train with the file of --labelled)."
        yield "[router.categories]"
    for category in mapped:
        note = "" if category.expert else "  # no expert fits"
        yield f"{key(category.name)} = {text(category.expert or catalogue.general)}{note}"


def key(name: str) -> str:
    """Return a name as a key of TOML."""
    return name if BARE_KEY.fullmatch(name) else text(name)


def text(value: str) -> str:
    """Return a text of one line as a string of TOML, whose escapes are JSON's."""
    return json.dumps(CONTROL.sub(" ", value.encode("utf-8", "replace").decode()), ensure_ascii=False)
