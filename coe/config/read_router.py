"""`[router]` → RouterConfig: names of experts in their own spelling, rules, and which expert is the general one.

Every function returns the problems it found beside its value; read.py collects them. Knows nothing about categories and
languages: the router checks those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from coe.config.keys import KEYS
from coe.config.schema import ExpertKind, RouterConfig, RuleConfig
from coe.config.toml_fields import Checked, read_table, text
from coe.errors import nearest

__all__ = ["read_router"]

REPLACED = {
    "residency_epsilon": "write score_per_second = the points of expected score that a second of loading is worth"
}


def read_router(
    raw: object, folder: Path, names: Mapping[str, str], kinds: Mapping[str, ExpertKind]
) -> Checked[RouterConfig | None]:
    """Read the table `[router]`; `names` has every expert's name and aliases in lower case. None without a general.

    `kinds` are of the experts that answer no prompts, by name: nothing may go to them.
    """
    raw, replaced = _without_replaced(raw)
    table = read_table(raw, "[router]", KEYS["router"], folder)
    categories = _categories(table.value.get("categories", {}), folder, names)
    rules = _rules(table.value.get("rules", []), folder, names)
    general = _general(table.value.get("general"), names, kinds)
    problems = (
        *chain.from_iterable(each.problems for each in (table, categories, rules, general)),
        *replaced,
        *_price_problems(table.value),
        *_kind_problems(general.value, categories.value, rules.value, kinds),
    )
    if general.value is None:
        return Checked(None, problems)
    rest = {key: value for key, value in table.value.items() if key not in ("categories", "rules", "general")}
    return Checked(RouterConfig(general.value, categories=categories.value, rules=rules.value, **rest), problems)


def _categories(raw: object, folder: Path, names: Mapping[str, str]) -> Checked[dict[str, str]]:
    readers = dict.fromkeys(raw, text) if isinstance(raw, dict) else {}
    written, problems = read_table(raw, "[router.categories]", readers, folder)
    experts = {category: _expert(f"[router.categories] {category}", word, names) for category, word in written.items()}
    named = {category: expert.value for category, expert in experts.items() if expert.value is not None}
    return Checked(named, (*problems, *chain.from_iterable(expert.problems for expert in experts.values())))


def _expert(where: str, written: str, names: Mapping[str, str]) -> Checked[str | None]:
    """Return the name of the expert that a name or an alias, in any case, stands for."""
    name = names.get(written.lower())
    if name is None:
        return Checked(None, (f'{where} = "{written}": names no expert; {nearest(written, names, "experts")}',))
    return Checked(name)


def _rules(raw: object, folder: Path, names: Mapping[str, str]) -> Checked[tuple[RuleConfig, ...]]:
    if not isinstance(raw, list):
        problem = "[router] rules: not a list of tables; write each rule under its own [[router.rules]]"
        return Checked((), (problem,))
    rules = [_rule(table, f"[[router.rules]] {number}", folder, names) for number, table in enumerate(raw, 1)]
    return Checked(tuple(rule.value for rule in rules), tuple(chain.from_iterable(rule.problems for rule in rules)))


def _rule(raw: object, where: str, folder: Path, names: Mapping[str, str]) -> Checked[RuleConfig]:
    table, problems = read_table(raw, where, KEYS["router.rules"], folder)
    written: str | None = table.get("expert")
    expert = Checked(None) if written is None else _expert(f"{where} expert", written, names)
    return Checked(RuleConfig(**{**table, "expert": expert.value}), (*problems, *expert.problems))


def _general(written: str | None, names: Mapping[str, str], kinds: Mapping[str, ExpertKind]) -> Checked[str | None]:
    """Return the expert for unsure prompts: the one written, the one called `general`, or the only one."""
    if written is not None:
        return _expert("[router] general", written, names)
    if "general" in names:
        return Checked(names["general"])
    experts = [name for name in dict.fromkeys(names.values()) if name not in kinds]
    if not experts and kinds:
        return Checked(None, ("[experts]: none of them answers prompts; add one without a kind",))
    if len(experts) < 2:
        return Checked(experts[0] if experts else None)
    return Checked(
        None,
        (
            "[router] general: no expert is called 'general', so say which one answers when the "
            f'router is unsure: general = "{experts[0]}"',
        ),
    )


def _kind_problems(
    general: str | None,
    categories: Mapping[str, str],
    rules: Iterable[RuleConfig],
    kinds: Mapping[str, ExpertKind],
) -> tuple[str, ...]:
    named = {
        "[router] general": general,
        **{f"[router.categories] {category}": expert for category, expert in categories.items()},
        **{f"[[router.rules]] {number} expert": rule.expert for number, rule in enumerate(rules, 1)},
    }
    return tuple(
        f'{where} = "{expert}": it is an expert of kind = "{kinds[expert]}" and answers no prompts; name another'
        for where, expert in named.items()
        if expert is not None and expert in kinds
    )


def _without_replaced(raw: object) -> Checked[object]:
    """Return the table without the keys that others have taken the place of; each is a problem that names the other."""
    if not isinstance(raw, Mapping):
        return Checked(raw)
    found = [key for key in raw if key in REPLACED]
    kept = {key: value for key, value in raw.items() if key not in REPLACED}
    return Checked(kept, tuple(f"[router] {key}: there is no such key any more; {REPLACED[key]}" for key in found))


def _price_problems(table: Mapping[str, Any]) -> tuple[str, ...]:
    if not table.get("score_per_second") or "mapping" in table:
        return ()
    return (
        f"[router] score_per_second = {table['score_per_second']:g}: experts are compared by expected scores; "
        "write mapping = the file of `coe router map --json`, or score_per_second = 0",
    )
