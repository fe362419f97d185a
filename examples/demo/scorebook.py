"""Results per (expert, row), computed when first asked for and kept on disk.

Owns the files `<cache>/demo/scores/<expert>-<fingerprint>.jsonl`; the fingerprint covers the weights and the scoring
code, so a retrained adapter or a changed check starts a new file. Knows nothing about what the results are used for.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from .answers import Answerer, Result
from .rows import Row

HERE = Path(__file__).resolve().parent
GENERAL = "general"
SCORING_CODE = ("answers.py", "checks.py", "encode.py")


def fingerprint(files: Iterable[Path]) -> str:
    """A short hash over the contents of the files."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Scorebook:
    """Scores experts by name; `general` is the base itself, any other name a folder under `adapters`."""

    base: Path
    adapters: Path
    folder: Path
    device: torch.device

    def adapter(self, expert: str) -> Path | None:
        """The adapter's folder, None for the base."""
        if expert == GENERAL:
            return None
        folder = self.adapters / expert
        if not folder.is_dir():
            raise FileNotFoundError(f"no adapter at {folder}: train it with `train_expert {expert}`")
        return folder

    def file(self, expert: str) -> Path:
        """Where the expert's results are kept."""
        adapter = self.adapter(expert)
        weights = self.base / "tokenizer.json" if adapter is None else adapter / "adapter_model.safetensors"
        code = [HERE / name for name in SCORING_CODE]
        return self.folder / f"{expert}-{fingerprint([weights, *code])}.jsonl"

    def known(self, expert: str) -> dict[str, Result]:
        """The results on disk, by row id."""
        file = self.file(expert)
        if not file.is_file():
            return {}
        lines = file.read_text(encoding="utf-8").splitlines()
        return {result.id: result for result in (Result(**json.loads(line)) for line in lines)}

    def results(self, expert: str, rows: Sequence[Row]) -> Mapping[str, Result]:
        """The expert's result on every row, by row id; loads the model only if one is missing."""
        known = self.known(expert)
        missing = [row for row in rows if row.id not in known]
        if not missing:
            return known
        answerer = Answerer(self.base, self.adapter(expert), self.device)
        self.folder.mkdir(parents=True, exist_ok=True)
        num_done = 0
        with self.file(expert).open("a", encoding="utf-8") as sink:
            for batch in answerer.results(missing):
                sink.writelines(json.dumps(asdict(result)) + "\n" for result in batch)
                sink.flush()
                known |= {result.id: result for result in batch}
                num_done += len(batch)
                print(f"{expert}: {num_done}/{len(missing)} rows", file=sys.stderr, flush=True)
        return known
