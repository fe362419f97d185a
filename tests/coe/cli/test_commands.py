"""A command's module is imported when the command is chosen, and not before."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from compositions import write_config
from console import coe, imported_by

import coe as coe_package
from coe.cli import main
from coe.cli.commands import CommandParser, add_command
from coe.errors import ConfigError

CONFIG_MODULE = "coe.cli.config"


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


def test_a_misspelt_command_is_said_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["srve"], "there is no command 'srve'; did you mean 'serve'?"),
        (["experts", "laod", "x"], "there is no command 'laod'; did you mean 'load'?"),
        (["router", "trian"], "there is no command 'trian'; did you mean 'train'?"),
        (["zzz"], "there is no command 'zzz'; commands: answers, bench, chat, "),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_the_version_is_the_packages_and_costs_no_import(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"coe {version('coe-serve')}\n"
    assert imported_by("--version") == set()


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "coe", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"coe {coe_package.__version__}\n"


def test_a_configuration_may_stand_by_itself_and_only_once(tmp_path: Path, llama_folder: Path) -> None:
    file = str(write_config(tmp_path, {"general": llama_folder}))
    for words in ((file,), ("-c", file), (f"--config={file}",)):
        done = coe("config", "check", *words)
        assert done.returncode == 0, done.stderr
        assert "1 of 1 experts can be served" in done.stdout
    for words in ((file, "-c", file), ("-c", file, file), ("-c", file, "-c", file)):
        done = coe("config", "check", *words)
        assert (done.returncode, "two configuration files" in done.stderr) == (2, True)
    for command in (("serve",), ("config", "check"), ("experts", "gc"), ("chat",)):
        assert "nowhere.toml" in coe(*command, "nowhere.toml").stderr


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
