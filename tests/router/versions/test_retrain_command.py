"""`coe router retrain`: what passes the gate goes into shadow, what does not is kept and not served."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType

import pytest
from router_fakes import FakeEncoder
from version_folders import NOUNS, write_feedback, write_rows

from router.model.artefact import load_artefact
from router.model.versions import Versions, VersionsError, numbers_in, read_versions, version_folder
from router.training import train_command
from router.versions import promote_command, retrain_command, rollback_command, versions_command
from router.versions.remembered import RememberedEncoder

ENCODER = RememberedEncoder(FakeEncoder())
TABLE = [("sum", "math"), ("select", "sql")]


class OtherEncoder(FakeEncoder):
    id = "fake-2"


def run(command: ModuleType, *argv: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args(list(map(str, argv))))
    return code


@pytest.fixture(autouse=True)
def fake_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (train_command, retrain_command):
        monkeypatch.setattr(module, "load_encoder", lambda source, *_: OtherEncoder() if source == "b" else ENCODER)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A plain router of math and sql, and its rows beside it."""
    rows = write_rows(tmp_path / "rows.jsonl", TABLE)
    assert run(train_command, rows, "--out", tmp_path / "router", "--kind", "linear") == 0
    return tmp_path


def test_feedback_that_adds_a_category_goes_into_shadow_and_can_be_promoted_and_rolled_back(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    router, options = trained / "router", write_feedback(trained, "math", "law", "sue")
    assert run(retrain_command, router, trained / "rows.jsonl", *options) == 0
    printed = capsys.readouterr().out
    assert "24 labels from feedback" in printed
    assert "48 of the rows are in sample for the served version: a stand-in, trained without them" in printed
    assert "version 0002 is in shadow" in printed
    assert read_versions(router) == Versions("0001", "0002")
    assert load_artefact(router).categories == ("math", "sql")
    report = json.loads((version_folder(router, "0002") / "report.json").read_text())
    assert (report["against"], report["num_rows"], report["passes"]) == ("0001", 72, True)
    assert report["overall"]["num_rows"] == 72
    by_name = {each["name"]: each for each in report["categories"]}
    assert by_name["law"]["old_accuracy"] == 0.0
    assert by_name["law"]["difference"]["low"] > 0.5

    assert run(promote_command, router) == 0
    assert load_artefact(router).categories == ("law", "math", "sql")
    assert run(versions_command, router) == 0
    table = capsys.readouterr().out
    assert [line.split()[3] for line in table.splitlines()[-2:]] == ["earlier", "served"]
    assert "0001, 72, " in table
    assert run(rollback_command, router) == 0
    assert load_artefact(router).categories == ("math", "sql")
    with pytest.raises(VersionsError, match="nothing was served before version 0001"):
        run(rollback_command, router)


def test_rows_that_harm_a_category_make_a_version_that_is_kept_and_not_served(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice as many rows say `sql` of what was labelled math: in all there is a gain, and math is lost."""
    router = trained / "router"
    wrong = write_rows(trained / "wrong.jsonl", [("sum", "sql")], [f"{noun}{end}" for noun in NOUNS for end in "xyz"])
    assert run(retrain_command, router, trained / "rows.jsonl", wrong) == 1
    printed = capsys.readouterr().out
    assert "gate: not passed: category 'math' loses more than 0.05" in printed
    assert "version 0002 is kept and not served" in printed
    assert read_versions(router) == Versions("0001")
    assert numbers_in(router) == ["0001", "0002"]
    assert run(versions_command, router) == 0
    assert "not passed" in capsys.readouterr().out


def test_feedback_alone_is_judged_on_itself_and_too_little_of_it_does_not_pass(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    router, options = trained / "router", write_feedback(trained, "math", "law", "sue")
    other = write_rows(trained / "other.jsonl", [("add", "math"), ("pick", "sql")], NOUNS[:5])
    options += ["--drop", "math", "sql", "--split", "train"]
    assert run(retrain_command, router, other, *options) == 1
    printed = capsys.readouterr().out
    assert "24 distinct held-out rows, and fewer than 30 decide nothing" in printed
    assert run(retrain_command, router, other, *options, "--force", "--serve") == 0
    assert "gate: forced" in capsys.readouterr().out
    assert read_versions(router) == Versions("0003", None, ("0001",))


def test_what_was_recorded_of_the_served_version_is_gone_on_with(trained: Path) -> None:
    described = trained / "described.json"
    described.write_text(json.dumps({"garden": "plants and lawns"}))
    router = trained / "other"
    rows = trained / "rows.jsonl"
    assert run(train_command, rows, "--out", router, "--descriptions", described, "--tf-idf-weight", 0) == 0
    assert run(retrain_command, router, rows, write_rows(trained / "law.jsonl", [("sue", "law")]), "--serve") == 0
    served = load_artefact(router)
    assert served.categories == ("garden", "general", "law", "math", "sql")
    assert served.model.tf_idf is None


def test_a_category_is_not_lost_for_want_of_its_rows(trained: Path) -> None:
    math = write_rows(trained / "math.jsonl", [("sum", "math"), ("sue", "law")])
    with pytest.raises(ValueError, match=r"categories without a row or a description here: sql; .* --drop sql"):
        run(retrain_command, trained / "router", math)
    assert numbers_in(trained / "router") == ["0001"]


def test_another_encoder_can_be_served_and_not_be_a_shadow(trained: Path) -> None:
    router, options = trained / "router", [trained / "rows.jsonl", "--encoder", "b"]
    with pytest.raises(ValueError, match="--encoder b: the served version's is 'fake'"):
        run(retrain_command, router, *options)
    more = write_rows(trained / "more.jsonl", [("sue", "law")])
    assert run(retrain_command, router, more, *options, "--serve") == 0
    assert load_artefact(router).encoder_id == "fake-2"


def test_arguments_that_do_not_go_together_are_refused(trained: Path) -> None:
    for argv, said in (
        ([], "nothing to train on"),
        (["--decisions", "d.jsonl"], "--decisions and --feedback go together"),
        ([trained / "rows.jsonl", "--margin", "2"], "--margin 2: must lie in 0 to 1"),
    ):
        with pytest.raises(ValueError, match=said):
            run(retrain_command, trained / "router", *argv)


def test_training_into_a_folder_of_versions_is_refused(trained: Path) -> None:
    router, rows = trained / "router", trained / "rows.jsonl"
    assert run(retrain_command, router, rows, "--serve") == 0
    with pytest.raises(ValueError, match="holds versions; add one with `coe router retrain"):
        run(train_command, rows, "--out", router)


def test_taking_the_shadow_out_leaves_what_is_served(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    router = trained / "router"
    assert run(retrain_command, router, trained / "rows.jsonl") == 0
    assert read_versions(router) == Versions("0001", "0002")
    assert run(rollback_command, router, "--shadow") == 0
    assert "no version is in shadow; version 0001 is served" in capsys.readouterr().out
    assert read_versions(router) == Versions("0001")
    with pytest.raises(VersionsError, match="no version is in shadow, so there is none to promote"):
        run(promote_command, router)
    with pytest.raises(VersionsError, match="no versions there"):
        run(versions_command, trained)
