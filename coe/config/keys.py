"""Every table and key of coe.toml, each with the reader of its value.

A key that is not here is refused by name. Defaults are those of the dataclasses in schema.py: a new key is a field
there, a line here and a line in examples/coe.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from coe.config.schema import BaseCheck, Device, Dtype, Eviction, ExpertKind, SchedulingPolicyName, StoreKind, Weights
from coe.config.toml_fields import (
    Reader,
    boolean,
    choice,
    existing_file,
    existing_path,
    file_path,
    folder_path,
    list_of,
    lower_case,
    nested,
    origin,
    real,
    size,
    text,
    whole,
)
from coe.text.output.call_formats import CallFormatName

__all__ = ["KEYS"]

# `*` stands for the name of an expert; "router.rules" is one of the tables [[router.rules]]
KEYS: Mapping[str, Mapping[str, Reader]] = {
    "experts.*": {
        "source": text,
        "kind": choice(*get_args(ExpertKind)),
        "revision": text,
        "base": text,
        "base_check": choice(*get_args(BaseCheck)),
        "aliases": list_of(text),
        "dtype": choice(*get_args(Dtype)),
        "weights": choice(*get_args(Weights)),
        "pin": boolean,
        "keep_alive_s": real(0),
        "preload": boolean,
        "fallbacks": list_of(text),
        "description": text,
        "chat_template": existing_file,
        "tool_calls": choice(*get_args(CallFormatName)),
        "generation": nested,
    },
    "experts.*.generation": {
        "max_tokens": whole(1),
        "temperature": real(0, 2),
        "top_p": real(0, 1, above=True),
        "top_k": whole(0),
        "min_p": real(0, 1),
        "repetition_penalty": real(0, 10, above=True),
        "presence_penalty": real(-2, 2),
        "frequency_penalty": real(-2, 2),
        "seed": whole(0, 2**63 - 1),
        "stop": list_of(text),
    },
    "cache": {
        "device_bytes": size,
        "host_bytes": size,
        "dir": folder_path,
        "store": choice(*get_args(StoreKind)),
        "eviction": choice(*get_args(Eviction)),
        "rehash_loads": boolean,
    },
    "engine": {
        "device": choice(*get_args(Device)),
        "dtype": choice(*get_args(Dtype)),
        "max_batch_size": whole(1, 4096),
        "max_step_tokens": whole(1),
        "max_tokens": whole(1),
        "kv_bytes": size,
        "num_threads": whole(1, 1024),
        "copy_link_bytes_per_s": size,
        "prefix_reuse": boolean,
        "cuda_graphs": boolean,
        "graph_bytes": size,
    },
    "scheduler": {
        "policy": choice(*get_args(SchedulingPolicyName)),
        "max_queue": whole(1),
        "max_queue_per_expert": whole(1),
        "deadline_s": real(0, above=True),
        "max_wait_s": real(0, above=True),
        "slice_steps": whole(1),
    },
    "router": {
        "artefact": existing_path,
        "general": text,
        "min_confidence": real(0, 1),
        "enabled": boolean,
        "mapping": existing_file,
        "score_per_second": real(0),
        "stickiness": real(0, 1),
        "device": choice("cpu", "cuda"),
        "examples": existing_file,
        "categories": nested,
        "rules": nested,
    },
    "router.rules": {
        "language": list_of(text),
        "keyword": list_of(text),
        "has_tools": boolean,
        "expert": text,
        "category": text,
    },
    "server": {
        "host": text,
        "port": whole(0, 65535),
        "drain_s": real(0),
        "max_body_bytes": size,
        "max_connections": whole(1),
        "header_timeout_s": real(0, above=True),
        "body_timeout_s": real(0, above=True),
        "reader_timeout_s": real(0, above=True),
        "responses_bytes": size,
    },
    "access": {
        "keys": file_path,
        "open": boolean,
        "allowed_origins": list_of(origin),
        "allowed_hosts": list_of(lower_case),
        "max_concurrent": whole(1),
        "requests_per_minute": whole(1),
        "tokens_per_minute": whole(1),
        "share_prefixes": text,
    },
    "answer_cache": {
        "enabled": boolean,
        "max_bytes": size,
        "ttl_s": real(0, above=True),
        "exact": boolean,
        "semantic": nested,
    },
    "telemetry": {
        "keep_prompts": boolean,
        "num_decisions": whole(0, 1_000_000),
        "feedback_file": file_path,
    },
}
