"""A command's module is imported when the command is chosen, and not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from compositions import write_config

from coe.cli import main
from coe.cli.commands import CommandParser, add_command
from coe.errors import ConfigError

CONFIG_MODULE = "coe.cli.config"


def imported_by(*words: str) -> set[str]:
    """Which heavy packages a command imports."""
    code = """
import sys
from coe.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print()
print(*({"torch", "transformers", "sklearn", "fastapi", "router", "server"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["experts", "--help"], ["router", "--help"], ["bench", "--help"], []])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    assert imported_by(*words) == set()


def test_config_check_reads_the_configuration_before_it_imports_torch(tmp_path: Path, llama_folder: Path) -> None:
    file = write_config(tmp_path, {"general": llama_folder, "code": llama_folder}, "[cache2]\nx = 1")
    assert not {"torch", "transformers", "server"} & imported_by("config", "check", "-c", str(file))


def test_serve_reads_the_configuration_before_it_imports_torch(tmp_path: Path) -> None:
    assert "torch" not in imported_by("serve", "-c", str(tmp_path / "gone.toml"))


def test_experts_of_a_server_need_no_torch() -> None:
    assert imported_by("experts", "--url", "http://127.0.0.1:9") == set()


def test_arguments_are_those_of_the_module_and_are_added_once() -> None:
    parser = CommandParser(prog="coe")
    commands = parser.add_subparsers(required=True)
    add_command(commands, "check", "", CONFIG_MODULE, add_arguments=None, run="run_check", reads_config=True)
    for _ in range(2):
        assert parser.parse_args(["check", "-c", "x.toml"]).config == "x.toml"
    assert parser.parse_args(["check"]).config == "coe.toml"


def test_words_that_only_look_like_a_command_choose_none(capsys: pytest.CaptureFixture[str]) -> None:
    """The grammar once looked for `router` and `bench` anywhere among the words."""
    with pytest.raises(SystemExit) as ended:
        main(["experts", "load", "router", "train", "--no-such-option"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --no-such-option" in capsys.readouterr().err


def test_errors_about_the_input_are_configuration_errors_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import coe.cli.config

    def refuse(_: object) -> int:
        raise ValueError("prompts.jsonl: no row")

    monkeypatch.setattr(coe.cli.config, "run_check", refuse)
    for input_errors, expected in (((ValueError,), ConfigError), ((OSError,), ValueError)):
        parser = CommandParser(prog="coe")
        commands = parser.add_subparsers(required=True)
        add_command(
            commands, "check", "", CONFIG_MODULE, add_arguments=None, run="run_check", input_errors=input_errors
        )
        arguments = parser.parse_args(["check"])
        with pytest.raises(expected, match=r"prompts\.jsonl: no row"):
            arguments.run(arguments)
