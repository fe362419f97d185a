"""The catalogue: every configured expert with its source resolved to local folders, or with the error that refused it.

Owns the rules for what a source may be: safetensors of a model that transformers knows, of the architecture that its
kind asks for, or a plain LoRA adapter in PEFT's format over a causal language model. Reads JSON only: the importer
opens weights, and torch is not imported here.
An expert that is refused does not stop the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coe.config.hub import DESCRIPTIONS, fetch
from coe.config.schema import Dtype, ExpertConfig, ExpertKind, Source, Weights, names_of
from coe.errors import ExpertError, SourceError, UnknownExpertError, nearest
from coe.sources.architectures import check_architecture
from coe.sources.base_check import check_base
from coe.sources.json_files import INDEX_BYTES, check_folder, json_object
from coe.sources.model_fields import check_adapter_config, check_config, check_generation_config
from coe.sources.refusals import Refusals
from coe.text.output.call_formats import CallFormatName
from coe.types import Sampling

__all__ = ["ADAPTER_WEIGHTS", "INDEX", "WEIGHTS", "Catalog", "ExpertSpec", "load_catalog"]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
# the values with which an adapter is W + scale * B A and nothing else
_PLAIN_LORA: Mapping[str, tuple[object, ...]] = {
    "bias": ("none",),
    "use_dora": (False,),
    "use_qalora": (False,),
    "lora_bias": (False,),
    "modules_to_save": ([],),
    "alpha_pattern": ({},),
    "layer_replication": ([],),
    "target_parameters": ([],),
    "trainable_token_indices": ([], {}),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),  # the others change the base too
}


@dataclass(frozen=True, slots=True)
class ExpertSpec:
    """One expert, ready to import. `folder` holds config.json and weights, `adapter` the adapter to merge into them.

    `generation` is the configuration's defaults laid over the model's own. `chat_template` is the text of a template
    that replaces the model's, None where the configuration names none; `tool_calls` is the form of its calls, likewise.
    """

    name: str
    source: str
    folder: Path
    tokenizer_dir: Path
    adapter: Path | None = None
    aliases: tuple[str, ...] = ()
    dtype: Dtype = "auto"
    generation: Sampling = field(default_factory=Sampling)
    chat_template: str | None = None
    pin: bool = False
    keep_alive_s: float | None = None
    preload: bool = False
    weights: Weights = "full"
    checks_base: bool = True
    tool_calls: CallFormatName | None = None
    kind: ExpertKind = "chat"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Experts by name, in the configuration's order; `errors` has those whose source was refused.

    `names` is every name and alias, in lower case, with the name of its expert.
    """

    experts: Mapping[str, ExpertSpec]
    errors: Mapping[str, ExpertError]
    names: Mapping[str, str]

    def __iter__(self) -> Iterator[ExpertSpec]:
        return iter(self.experts.values())

    def __len__(self) -> int:
        return len(self.experts)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word.lower() in self.names

    def get(self, word: str) -> ExpertSpec:
        """Return the expert with this name or alias, in any case.

        Raises UnknownExpertError for a word that names no expert, and its own error for an expert that was refused.
        """
        name = self.names.get(word.lower())
        if name is None:
            hint = nearest(word, self.names.values(), "the experts are")
            raise UnknownExpertError(f"there is no expert '{word}'; {hint}", param="model")
        if name in self.errors:
            raise self.errors[name]
        return self.experts[name]


def load_catalog(
    experts: Sequence[ExpertConfig],
    dtype: Dtype = "auto",
    *,
    hub_dir: Path | None = None,
    only_cached: bool = False,
    note: Callable[[str], None] | None = None,
) -> Catalog:
    """Resolve every expert, fetching what is on the hub.

    `dtype` is for experts that name none. `hub_dir` is the folder of the hub's cache, by default huggingface_hub's own;
    with `only_cached` nothing is fetched, and what it lacks has a NotFetchedError. `note` is told what is being done.
    """
    specs: dict[str, ExpertSpec] = {}
    refusals = Refusals()
    for number, expert in enumerate(experts, 1):
        if note is not None:
            note(f"resolving {number} of {len(experts)}: {expert.name}")
        with refusals.guard(expert.name, "resolved"):
            specs[expert.name] = _SourceResolver(expert.name, hub_dir, only_cached, expert.kind).spec(expert, dtype)
    return Catalog(specs, refusals.errors, names_of(experts))


@dataclass(frozen=True, slots=True)
class _SourceResolver:
    """The checks for one expert, cheapest first: descriptions are read before any weights are fetched."""

    name: str
    hub_dir: Path | None
    only_cached: bool
    kind: ExpertKind

    def refuse(self, message: str) -> SourceError:
        return SourceError(self.name, message)

    def spec(self, expert: ExpertConfig, dtype: Dtype) -> ExpertSpec:
        folder, adapter = self.descriptions(expert.source), None
        base = expert.source
        if _is_adapter(folder):
            if self.kind != "chat":
                raise self.refuse(f'an adapter cannot be of kind = "{self.kind}"; merge it into its base and save that')
            adapter = self.adapter(expert.source, folder)
            base = expert.base or self.own_base(folder)
            folder = self.descriptions(base)
            if _is_adapter(folder):
                raise self.refuse(f"its base {base} is itself an adapter; name that adapter's base and merge them")
        elif expert.base is not None:
            raise self.refuse(f"base is for adapters, and {folder} has no adapter_config.json; remove base")
        self.weights(base, folder)
        checks_base = expert.base_check == "on"
        if adapter is not None and checks_base:
            settings, config = self.json(adapter / "adapter_config.json"), self.json(folder / "config.json")
            check_base(self.name, adapter, settings, base, folder, config)
        return ExpertSpec(
            expert.name,
            str(expert.source),
            folder,
            self.tokenizer_dir(folder, adapter),
            adapter,
            expert.aliases,
            expert.dtype or dtype,
            self.generation(folder, expert.generation),
            self.chat_template(expert.chat_template),
            expert.pin,
            expert.keep_alive_s,
            expert.preload,
            expert.weights,
            checks_base,
            expert.tool_calls,
            expert.kind,
        )

    def descriptions(self, source: Source) -> Path:
        """Return the source's folder, looked over; from the hub, everything but weights is fetched into it."""
        folder = source.folder
        if folder is None:
            folder = self.fetched(source, DESCRIPTIONS)
        check_folder(self.name, folder)
        return folder

    def fetched(self, source: Source, patterns: Sequence[str]) -> Path:
        return fetch(self.name, source.text, source.revision, patterns, self.hub_dir, only_cached=self.only_cached)

    def weights(self, source: Source, folder: Path) -> None:
        """Check that the folder is a model of its kind in safetensors; fetch its weights if they are on the hub."""
        self.check_model(folder)
        files = self.weight_files(folder)
        if source.folder is None:
            self.fetched(source, files)
        missing = [file for file in files if not (folder / file).is_file()]
        if missing:
            raise self.refuse(f"{folder / missing[0]} is missing; {self.remedy(folder)}")

    def weight_files(self, folder: Path) -> list[str]:
        if not (folder / INDEX).is_file():
            return [WEIGHTS]
        files = json_object(self.name, folder / INDEX, INDEX_BYTES).get("weight_map")
        if not isinstance(files, dict) or not files:
            raise self.refuse(f"{folder / INDEX} has no weight_map; fetch it again")
        for tensor, file in files.items():
            if not _lies_in(folder, file):
                raise self.refuse(
                    f"{folder / INDEX}: weight_map says that {tensor[:80]} is in {str(file)[:80]!r}; expected the name "
                    "of a safetensors file in this folder"
                )
        return sorted(set(files.values()))

    def remedy(self, folder: Path) -> str:
        """Return what to do about missing weights, judged by the files that are there instead."""
        found = sorted(path.name for path in folder.iterdir())
        if gguf := [name for name in found if name.endswith(".gguf")]:
            return (
                f"there is only GGUF ({gguf[0]}): convert it once with transformers' from_pretrained(folder, "
                "gguf_file=..., quantization_config=GgufConfig(dequantize=True)) and save_pretrained"
            )
        if pickles := [name for name in found if name.endswith(_PICKLES)]:
            return (
                f"there are only pickle weights ({pickles[0]}), which can run code when opened and are refused: "
                "take a revision with safetensors, or convert where you trust them with save_pretrained"
            )
        return "fetch it again; a source is a folder of safetensors that transformers or PEFT saved"

    def check_model(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise self.refuse(f"{folder / 'config.json'} is missing; {self.remedy(folder)}")
        config = self.json(folder / "config.json")
        check_config(self.name, folder / "config.json", config)
        model_type = config.get("model_type")
        self.check_known(model_type, config)
        if quantised := config.get("quantization_config"):
            method = quantised.get("quant_method", "?") if isinstance(quantised, dict) else quantised
            raise self.refuse(f"its weights are quantised ({method}); name the unquantised original")
        if config.get("is_encoder_decoder") or "vision_config" in config or "audio_config" in config:
            raise self.refuse(f"'{model_type}' is not a text-only decoder; name a causal language model")

    def check_known(self, model_type: object, config: Mapping[str, Any]) -> None:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if model_type not in CONFIG_MAPPING_NAMES:
            if "auto_map" in config:
                raise self.refuse(
                    f"model_type '{model_type}' needs code from its repository (auto_map), and remote code is never "
                    "run; name a model that transformers knows"
                )
            raise self.refuse(f"model_type '{model_type}' is unknown to transformers; upgrade it or name another model")
        check_architecture(self.name, self.kind, str(model_type), config.get("architectures") or ())

    def adapter(self, source: Source, folder: Path) -> Path:
        """Return the folder of a plain LoRA adapter, its weights fetched; raises SourceError for any other adapter."""
        settings = self.json(folder / "adapter_config.json")
        if settings.get("peft_type") != "LORA":
            raise self.refuse(f"adapter of type {settings.get('peft_type')}; only LORA can be merged")
        for key, allowed in _PLAIN_LORA.items():
            if settings.get(key) is not None and settings[key] not in allowed:
                raise self.refuse(
                    f"the adapter has {key} = {settings[key]!r}; only plain LoRA is merged: merge it with PEFT's "
                    "merge_and_unload, save the model and name that folder"
                )
        check_adapter_config(self.name, folder / "adapter_config.json", settings)
        if source.folder is None:
            self.fetched(source, [ADAPTER_WEIGHTS])
        if not (folder / ADAPTER_WEIGHTS).is_file():
            raise self.refuse(f"{folder / ADAPTER_WEIGHTS} is missing; {self.remedy(folder)}")
        return folder

    def own_base(self, folder: Path) -> Source:
        """Return the base that the adapter's own configuration names: a folder that exists, else a hub id."""
        settings = self.json(folder / "adapter_config.json")
        written = settings.get("base_model_name_or_path")
        if not written:
            raise self.refuse("the adapter names no base model; write base = an expert, a folder or a hub id")
        if (path := Path(os.path.normpath(folder / Path(written).expanduser()))).is_dir():
            return Source(written, path)
        if Path(written).is_absolute() or written.count("/") != 1 or written.startswith("."):
            raise self.refuse(
                f"the adapter's base '{written}' is not here; write base = an expert, a folder or a hub id"
            )
        return Source(written, None, settings.get("revision"))

    def tokenizer_dir(self, folder: Path, adapter: Path | None) -> Path:
        for candidate in filter(None, (adapter, folder)):
            if any((candidate / name).is_file() for name in _TOKENIZERS):
                return candidate
        raise self.refuse(f"{folder} has no tokenizer ({', '.join(_TOKENIZERS)}); add its files")

    def generation(self, folder: Path, chosen: Sampling) -> Sampling:
        """Lay the configuration's defaults over the model's own.

        The model's temperature, top_p, top_k and min_p count only where its generation_config.json says `do_sample`.
        """
        path = folder / "generation_config.json"
        own = self.json(path) if path.is_file() else {}
        check_generation_config(self.name, path, own)
        keys = ["repetition_penalty", *(("temperature", "top_p", "top_k", "min_p") if own.get("do_sample") else ())]
        missing = {key: own[key] for key in keys if getattr(chosen, key) is None and own.get(key) is not None}
        return replace(chosen, **missing)

    def chat_template(self, path: Path | None) -> str | None:
        try:
            return path.read_text(encoding="utf-8") if path else None
        except (OSError, UnicodeDecodeError) as error:
            raise self.refuse(f"chat template {path} cannot be read ({error}); name a UTF-8 file") from error

    def json(self, path: Path) -> dict[str, Any]:
        return json_object(self.name, path)


def _lies_in(folder: Path, file: object) -> bool:
    """Return whether a file is safetensors in this very folder, links followed; the hub's cache links to its blobs."""
    if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
        return False
    place, own = (folder / file).resolve().parent, folder.resolve()
    return place == own or (own.parent.name == "snapshots" and place == own.parents[1] / "blobs")


def _is_adapter(folder: Path) -> bool:
    """Tell an adapter from a model as transformers does: a folder with a model's weights is a model."""
    is_model = (folder / "config.json").is_file() and any((folder / name).is_file() for name in (WEIGHTS, INDEX))
    return (folder / "adapter_config.json").is_file() and not is_model
