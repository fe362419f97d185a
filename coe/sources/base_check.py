"""Whether an adapter was made for the base that it is merged into, judged by names.

Two hub ids of different models disprove the base. A mirror (another owner's repository of the same name, or a quantised
copy of it) and a local path prove nothing either way and only warn. Shapes are checked where tensors are known, by the
importer.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from coe.config.schema import HUB_ID, Source
from coe.errors import SourceError

__all__ = ["check_base"]

log = logging.getLogger("coe.sources.base")

_SNAPSHOT = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/[^/]+$")
# how repositories call quantised copies of a model
_COPY = re.compile(r"(-unsloth)?(-bnb)?-(4bit|8bit|int4|int8|fp8|bf16|fp16|gptq|awq|gguf|hf)(-.*)?$")


class _Claim(NamedTuple):
    """What the adapter says that it was made for, and what it is merged into."""

    made_for: str
    merged_into: str


def check_base(
    expert: str, adapter: Path, settings: Mapping[str, Any], base: Source, folder: Path, config: Mapping[str, Any]
) -> None:
    """Raise SourceError where the adapter's own base and `base` are hub ids of different models.

    `settings` is adapter_config.json; `folder` and `config` are those of the base that was resolved. What only may be
    another base is logged.
    """
    made_for = settings.get("base_model_name_or_path") or ""
    if not made_for or _is_same(adapter, made_for, base, folder):
        return
    claim = _Claim(made_for, str(base))
    known = _hub_id(base, folder, config)
    if known is None or not _is_hub_id(adapter, made_for):
        log.warning(
            "expert=%s its adapter was made for '%s' and is merged into '%s'; nothing tells whether these are one",
            expert,
            *claim,
        )
    elif _model_name(known) == _model_name(made_for):
        if known.lower() != made_for.lower():
            log.warning(
                "expert=%s its adapter was made for '%s' and is merged into '%s', a copy of that name", expert, *claim
            )
    else:
        shown = claim.merged_into if claim.merged_into == known else f"{claim.merged_into} ({known})"
        raise SourceError(
            expert,
            f"its adapter was made for '{made_for}' and its base is '{shown}', another model; name its own base with "
            'base = ..., or write base_check = "off" if they are the same weights',
        )


def _is_same(adapter: Path, made_for: str, base: Source, folder: Path) -> bool:
    if base.folder is None:
        return made_for.lower() == base.text.lower()
    if _is_hub_id(adapter, made_for) and made_for.split("/")[-1].lower() == folder.name.lower():
        return True  # people name a folder by the repository that it was fetched from
    return Path(os.path.normpath(adapter / Path(made_for).expanduser())).resolve() == folder.resolve()


def _is_hub_id(adapter: Path, name: str) -> bool:
    return bool(HUB_ID.fullmatch(name)) and not (adapter / name).exists()


def _hub_id(base: Source, folder: Path, config: Mapping[str, Any]) -> str | None:
    """Return the base's hub id: its source, its place in the hub's cache, or its config's `_name_or_path`."""
    if base.folder is None:
        return base.text
    if found := _SNAPSHOT.search(folder.resolve().as_posix()):
        return f"{found[1]}/{found[2]}"
    written = config.get("_name_or_path")
    return written if isinstance(written, str) and _is_hub_id(folder, written) else None


def _model_name(hub_id: str) -> str:
    """Return a repository's name without its owner, case and words for a quantised copy."""
    return _COPY.sub("", hub_id.split("/")[-1].lower())
