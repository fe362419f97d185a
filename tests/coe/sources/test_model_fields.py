"""What transformers itself writes is never refused: the check is for what is odd, not for what is unusual."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING, GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from coe.sources.model_fields import check_adapter_config, check_config, check_generation_config


@pytest.mark.filterwarnings("ignore")
def test_every_decoders_own_defaults_pass() -> None:
    num_checked = 0
    for model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        try:
            config = CONFIG_MAPPING[model_type]().to_json_string(use_diff=False)
        except Exception:  # some classes have no defaults that they accept themselves
            continue
        check_config(model_type, Path("config.json"), json.loads(config))
        num_checked += 1
    assert num_checked > 100


def test_the_defaults_of_generation_pass() -> None:
    generation = GenerationConfig().to_json_string(use_diff=False)
    check_generation_config("tiny", Path("generation_config.json"), json.loads(generation))


def test_what_peft_writes_passes(lora_folder: Path) -> None:
    file = lora_folder / "adapter_config.json"
    check_adapter_config("tiny", file, json.loads(file.read_text()))
