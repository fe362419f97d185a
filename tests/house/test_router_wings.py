"""The router's serving path imports nothing of training, evaluation or the studies, and arrows point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "router").rglob("*.py"))
WINGS = {  # a wing, and the wings that it may import; "serving" is what stands in router/ itself
    "encoding": set(),
    "model": set(),
    "serving": {"encoding", "model"},
    "labelled": {"model"},
    "training": {"encoding", "model", "labelled"},
    "proposals": {"encoding", "model", "labelled", "training"},
    "evaluation": {"encoding", "model", "serving", "labelled", "training"},
    "mapping_study": {"encoding", "model", "serving", "labelled", "training"},
    "spending_study": {"encoding", "model", "serving", "labelled", "training", "mapping_study"},
    "versions": {"encoding", "model", "serving", "labelled", "training", "mapping_study"},
}
NOT_SERVED = (
    "router.labelled",
    "router.training",
    "router.proposals",
    "router.evaluation",
    "router.mapping_study",
    "router.spending_study",
    "router.versions",
)

SERVE = """
import sys
from pathlib import Path

from coe.types import Message, RouteQuery
from router import GeneralOnly, Router
from router.directory import Directory
from router.mapping import read_mapping_file
from router.model.artefact import load_artefact
from router.policy import RoutingPolicy
from router.rules import Rule, Rules
from router.switch_price import SwitchPrice

artefact = load_artefact()
authored = next(exemplar.text for exemplar in artefact.exemplars if exemplar.text)
query = RouteQuery((Message("user", authored),), only_explains=True)
GeneralOnly(general="a", names={"a": "a"}).route([query])
learned = read_mapping_file(Path(sys.argv[1]))
policy = RoutingPolicy(
    Directory({"a": "a", "b": "b"}, "a"),
    learned.mapping,
    Rules([Rule("a", keywords=("invoice",))]),
    SwitchPrice(0.1, learned),
)
(decision,) = Router.with_policy(policy, artefact).route([query])
assert decision.nearest and any(near.text for near in decision.nearest), decision
print(sorted(name for name in sys.modules if name.startswith("router")))
"""


def wing_of(module: str) -> str:
    first = module.split(".")[1] if "." in module else ""
    return first if first in WINGS else "serving"


def imported(path: Path) -> set[str]:
    """Modules of the router that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            is_package = (ROOT / node.module.replace(".", "/")).is_dir()
            names |= {f"{node.module}.{alias.name}" if is_package else node.module for alias in node.names}
    return {name for name in names if name.split(".")[0] == "router"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_wings_import_one_way(path: Path) -> None:
    wing = wing_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert {wing_of(name) for name in imported(path)} <= WINGS[wing] | {wing}


def test_what_serving_uses_loads_no_other_wing(tmp_path: Path) -> None:
    """Explaining generated 7,736 prompts anew to show the text of one: training was loaded by serving."""
    file = tmp_path / "mapping.json"
    file.write_text('{"mapping": {"sql": "b"}, "expected_scores": {"sql": {"a": 0.5, "b": 0.9}}}')
    done = subprocess.run([sys.executable, "-c", SERVE, file], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    loaded = ast.literal_eval(done.stdout)
    assert "router.encoding.encoder" in loaded
    assert [name for name in loaded if name.startswith(NOT_SERVED)] == []
