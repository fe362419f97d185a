"""Fetches what an expert needs from the model hub, and nothing else: descriptions first, weights when those are good.

huggingface_hub does the work: resumable, cached, with progress bars. A commit hash that is in the cache is never
asked for again, and without a network the cache answers. Knows nothing about what makes a source usable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from coe.errors import SourceError

__all__ = ["DESCRIPTIONS", "fetch"]

# everything but weights: a few MB
DESCRIPTIONS = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "added_tokens.txt")

_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(expert: str, repo: str, revision: str | None, patterns: Sequence[str], cache_dir: Path | None = None) -> Path:
    """Return the folder of `repo` at `revision` with all files at its top level that match.

    `cache_dir` is huggingface_hub's own unless named. Raises SourceError when the hub has no such repository or
    revision, or cannot be reached while the cache lacks something.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(is_local: bool) -> Path:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                cache_dir=cache_dir,
                allow_patterns=list(patterns),
                ignore_patterns=["*/*"],  # other formats and training states live in folders
                local_files_only=is_local,
            )
        )

    if revision is not None and _COMMIT.fullmatch(revision):
        try:
            folder = download(is_local=True)
        except LocalEntryNotFoundError:
            pass  # not there yet, or only in part
        else:
            if all(list(folder.glob(pattern)) for pattern in patterns if "*" not in pattern):
                return folder
    try:
        return download(is_local=False)
    except Exception as error:  # HTTP edge: hub releases differ in what they raise
        raise SourceError(expert, f"hub id '{repo}'{_at(revision)}: {_reason(error)}") from error


def _at(revision: str | None) -> str:
    return f" at '{revision}'" if revision else ""


def _reason(error: Exception) -> str:
    """Return one sentence, with a remedy, for what the hub client raised."""
    remedies = {
        "RepositoryNotFoundError": "no such repository; check its spelling, or log in if it is private",
        "GatedRepoError": "access is gated; accept its terms on the hub and log in",
        "RevisionNotFoundError": "no such revision; name a branch, a tag or a commit hash of it",
        "LocalEntryNotFoundError": "not in the cache and the hub cannot be reached; connect once, or name a folder",
        "IncompleteSnapshotError": "partly in the cache and the hub cannot be reached; connect to finish it",
    }
    name = type(error).__name__
    return remedies.get(name) or f"cannot be fetched ({name}: {error}); check the network and try again"
