"""Fetches the files of one repository from the model hub: descriptions, or weights by name.

huggingface_hub does the work: downloads resume, are cached and show progress bars. A commit hash that the cache has is
never asked for again, and without a network the cache answers. Knows nothing about what makes a source usable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from coe.errors import SourceError

__all__ = ["DESCRIPTIONS", "NotFetchedError", "fetch"]

# everything but weights: a few MB
DESCRIPTIONS = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "added_tokens.txt")

_COMMIT = re.compile(r"[0-9a-f]{40}")


class NotFetchedError(SourceError):
    """A source on the hub that the cache does not have yet, where nothing was to be fetched."""


def fetch(
    expert: str,
    repo: str,
    revision: str | None,
    patterns: Sequence[str],
    cache_dir: Path | None = None,
    *,
    only_cached: bool = False,
) -> Path:
    """Return a folder with those files at the top level of `repo` at `revision` that match `patterns`.

    `cache_dir` None is huggingface_hub's own. Raises SourceError, in the name of `expert`, if the hub has no such
    repository or revision, or if the cache lacks a file and the hub cannot be reached. With `only_cached` the hub is
    not asked, and what the cache lacks raises NotFetchedError.
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
                ignore_patterns=["*/*"],  # folders hold other formats and training states
                local_files_only=is_local,
            )
        )

    if only_cached or (revision is not None and _COMMIT.fullmatch(revision)):
        try:
            folder = download(is_local=True)
        except LocalEntryNotFoundError:
            pass  # the cache has none of it, or only a part
        else:
            if all(list(folder.glob(pattern)) for pattern in patterns if "*" not in pattern):
                return folder
    if only_cached:
        raise NotFetchedError(expert, f"hub id '{repo}'{_at(revision)} is not fetched yet")
    try:
        return download(is_local=False)
    except Exception as error:  # HTTP edge: hub releases differ in what they raise
        raise SourceError(expert, f"hub id '{repo}'{_at(revision)}: {_reason(error)}") from error


def _at(revision: str | None) -> str:
    return f" at '{revision}'" if revision else ""


def _reason(error: Exception) -> str:
    """Return what went wrong and what to do, for an exception of the hub's client."""
    remedies = {
        "RepositoryNotFoundError": "no such repository; check its spelling, or log in if it is private",
        "GatedRepoError": "access is gated; accept its terms on the hub and log in",
        "RevisionNotFoundError": "no such revision; name a branch, a tag or a commit hash of it",
        "LocalEntryNotFoundError": "not in the cache and the hub cannot be reached; connect once, or name a folder",
        "IncompleteSnapshotError": "partly in the cache and the hub cannot be reached; connect to finish it",
    }
    name = type(error).__name__
    return remedies.get(name) or f"cannot be fetched ({name}: {error}); check the network and try again"
