"""The mapping category -> expert that a router decides by: what makes one valid.

Knows nothing about how a mapping is learned; `router.mapping_study` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.directory import Directory

__all__ = ["checked_mapping"]


def checked_mapping(mapping: Mapping[str, str], categories: Sequence[str], directory: Directory) -> Mapping[str, str]:
    """Return the mapping with the artefact's spelling of categories and the experts' own names.

    Raises:
        ValueError: a category that the classifier does not have, or an expert that nobody knows.
    """
    known = {category.casefold(): category for category in categories}
    checked: dict[str, str] = {}
    for category, expert in mapping.items():
        if category.casefold() not in known:
            raise ValueError(
                f"category '{category}': the router does not have it; its categories: {', '.join(categories)}"
            )
        checked[known[category.casefold()]] = directory.resolve(expert, f"category '{category}' maps to")
    return checked
