"""A configuration in words names every expert and every setting."""

from __future__ import annotations

from pathlib import Path

from configurations import read

from coe.config.describe import describe
from coe.config.keys import KEYS


def test_description_names_every_expert_and_setting(folder: Path) -> None:
    config = read(
        folder, '[experts]\ngeneral = "a"\nsql = {source = "b", aliases = ["db"], pin = true, fallbacks = "general"}\n'
    )
    text = describe(config)
    assert f"sql: {folder / 'b'}, also called db, pinned, in its place general" in text
    tables = [table for table in KEYS if "." not in table]
    assert all(key in text for table in tables for key in KEYS[table])
    assert "device_bytes = (derived at start)" in text


def test_rules_are_sentences(folder: Path) -> None:
    rules = """
        [[router.rules]]
        language = "de"
        keyword = ["tax", "tax law"]
        expert = "A"
        [[router.rules]]
        has_tools = true
        category = "tools"
        """
    text = describe(read(folder, f'experts.a = "a"\n{rules}'))
    assert "language de and keyword tax|tax law -> a; has_tools true -> category tools" in text
