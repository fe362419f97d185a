"""`[experts]` → ExpertConfig: names that are unique, sources that can exist, bases that are found.

Every function returns the problems it found beside its value; read.py collects them. Knows nothing about what lies in
a source's folder or on the hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from coe.config.keys import KEYS
from coe.config.paths import expand
from coe.config.schema import COMPOSITION, HUB_ID, ExpertConfig, ExpertKind, Source
from coe.config.toml_fields import Checked, read_table
from coe.errors import nearest
from coe.types import Sampling

__all__ = ["START", "ExpertsTable", "read_experts"]

START = 'write at least\n    [experts]\n    general = "path/of/a/model"'

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# what only an expert that answers prompts can have
_OF_CHAT = ("base", "base_check", "weights", "fallbacks", "description", "chat_template", "generation")
_READ_APART = ("source", "revision", "base", "fallbacks", "generation")
_MAX_FALLBACKS = 2  # a request goes to so many experts in another's place, no further


class ExpertsTable(NamedTuple):
    """What `[experts]` says. `names` has every name and alias in lower case, also of experts that have problems.

    `kinds` are of the experts that answer no prompts, by name.
    """

    experts: tuple[ExpertConfig, ...]
    names: Mapping[str, str]
    problems: tuple[str, ...]
    kinds: Mapping[str, ExpertKind] = MappingProxyType({})


def read_experts(raw: object, folder: Path) -> ExpertsTable:
    """Read the table `[experts]` of a file in `folder`."""
    if not isinstance(raw, dict) or not raw:
        return ExpertsTable((), {}, (f"[experts]: there is no expert; {START}",))
    tables = {name: _table(name, value, folder) for name, value in raw.items()}
    names = _claim_names((name, table.value.get("aliases", ())) for name, table in tables.items())
    sources = {name: _own_source(name, table.value, raw[name], folder) for name, table in tables.items()}
    found = {name: source.value for name, source in sources.items()}
    kinds = {name: kind for name, table in tables.items() if (kind := table.value.get("kind", "chat")) != "chat"}
    experts = [_expert(name, table.value, names.value, found, kinds, folder) for name, table in tables.items()]
    problems = (
        *chain.from_iterable(table.problems for table in tables.values()),
        *names.problems,
        *chain.from_iterable(source.problems for source in sources.values()),
        *chain.from_iterable(expert.problems for expert in experts),
    )
    valid = tuple(each.value for each in experts if each.value is not None)
    return ExpertsTable(valid, names.value, problems, kinds)


def _table(name: str, raw: object, folder: Path) -> Checked[dict[str, Any]]:
    """Read one expert's table; a bare text is its source."""
    table = {"source": raw} if isinstance(raw, str) else raw
    return read_table(table, f"[experts.{name}]", KEYS["experts.*"], folder)


def _claim_names(experts: Iterable[tuple[str, Iterable[str]]]) -> Checked[dict[str, str]]:
    """Give each name and alias, case ignored, to the first expert that has it."""
    names: dict[str, str] = {}
    problems: list[str] = []
    for expert, aliases in experts:
        for word, kind in ((expert, "name"), *((alias, "alias") for alias in aliases)):
            owner = names.setdefault(word.lower(), expert)
            if problem := _name_problem(word, kind, expert, owner):
                problems.append(f"[experts.{expert}] {kind} '{word}': {problem}")
    return Checked(names, tuple(problems))


def _name_problem(word: str, kind: str, expert: str, owner: str) -> str | None:
    if not _NAME.fullmatch(word):
        return "letters, digits, '.', '_' and '-' only, a letter or digit first"
    if word.lower() == COMPOSITION:
        return f"'{COMPOSITION}' means the whole composition; choose another {kind}"
    if owner != expert:
        return f"expert '{owner}' has this name too (case does not count); choose another {kind}"
    if kind == "alias" and word.lower() == expert.lower():
        return "this is the expert's own name; remove the alias"
    return None


def _own_source(name: str, table: Mapping[str, Any], raw: object, folder: Path) -> Checked[Source | None]:
    if "source" not in table:
        if isinstance(raw, dict) and "source" not in raw:
            return Checked(None, (f"[experts.{name}] has no source; write source = a folder or a hub id",))
        return Checked(None)  # its own reader has refused it
    source, problems = _source(f"[experts.{name}] source", table["source"], table.get("revision"), folder)
    if source and source.folder and "revision" in table:
        where = f'[experts.{name}] revision = "{table["revision"]}"'
        problems += (f"{where}: only a hub id has revisions; remove it",)
    return Checked(source, problems)


def _source(where: str, written: str, revision: str | None, folder: Path) -> Checked[Source | None]:
    """Tell a folder from a hub id: a path that exists is a folder, `owner/name` is a hub id, the rest is neither."""
    try:
        path = expand(written, folder)
    except ValueError as error:
        return Checked(None, (f'{where} = "{written}": {error}',))
    if path.is_dir():
        return Checked(Source(written, path))
    if HUB_ID.fullmatch(written) and not path.exists():
        return Checked(Source(written, None, revision))
    what = "is a file, not a folder" if path.exists() else "does not exist"
    remedy = 'name a folder (relative to the configuration file) or a hub id such as "org/model"'
    return Checked(None, (f'{where} = "{written}": {path} {what}; {remedy}',))


def _expert(
    name: str,
    table: Mapping[str, Any],
    names: Mapping[str, str],
    sources: Mapping[str, Source | None],
    kinds: Mapping[str, ExpertKind],
    folder: Path,
) -> Checked[ExpertConfig | None]:
    """Return one expert, None where it has no source that can be used."""
    where = f"[experts.{name}.generation]"
    generation = read_table(table.get("generation", {}), where, KEYS["experts.*.generation"], folder)
    base = _base(name, table.get("base"), names, sources, folder)
    fallbacks = _fallbacks(name, table.get("fallbacks", ()), names, kinds)
    problems = (*generation.problems, *base.problems, *fallbacks.problems, *_kind_problems(name, table, kinds))
    source = sources[name]
    if source is None:
        return Checked(None, problems)
    rest = {key: value for key, value in table.items() if key not in _READ_APART}
    own = Sampling(**generation.value)
    return Checked(ExpertConfig(name, source, base.value, fallbacks=fallbacks.value, generation=own, **rest), problems)


def _kind_problems(name: str, table: Mapping[str, Any], kinds: Mapping[str, ExpertKind]) -> tuple[str, ...]:
    kind = kinds.get(name)
    return tuple(
        f'[experts.{name}] {key}: an expert of kind = "{kind}" answers no prompts, so this changes nothing; remove it'
        for key in _OF_CHAT
        if kind is not None and key in table
    )


def _fallbacks(
    name: str, written: Iterable[str], names: Mapping[str, str], kinds: Mapping[str, ExpertKind]
) -> Checked[tuple[str, ...]]:
    """Return the experts that answer in this one's place, by their own names."""
    found: list[str] = []
    problems: list[str] = []
    for word in written:
        expert = names.get(word.lower())
        if expert is None:
            problem = f"names no expert; {nearest(word, names.keys() - {name.lower()}, 'experts')}"
        elif expert in (name, *found):
            problem = "names the expert itself, or one twice; name others"
        elif expert in kinds:
            problem = f'is an expert of kind = "{kinds[expert]}" and answers no prompts; name another'
        elif len(found) == _MAX_FALLBACKS:
            problem = f"a request is handed on at most {_MAX_FALLBACKS} times; name no more experts"
        else:
            found.append(expert)
            continue
        problems.append(f'[experts.{name}] fallbacks = "{word}": {problem}')
    return Checked(tuple(found), tuple(problems))


def _base(
    name: str, written: str | None, names: Mapping[str, str], sources: Mapping[str, Source | None], folder: Path
) -> Checked[Source | None]:
    """Return an adapter's base: another expert's source, else a source of its own."""
    if written is None:
        return Checked(None)
    where = f"[experts.{name}] base"
    owner = names.get(written.lower())
    if owner == name:
        problem = f'{where} = "{written}": an expert cannot be its own base; name another one'
        return Checked(None, (problem,))
    if owner is not None:
        return Checked(sources[owner])
    if _NAME.fullmatch(written) and not (folder / written).exists():
        hint = nearest(written, names.keys() - {name.lower()}, "experts")
        return Checked(None, (f'{where} = "{written}": names no expert and no folder; {hint}',))
    return _source(where, written, None, folder)
