"""Changes of which version is served: promote, roll back, put into shadow or take out of it.

Owns what each change does to the state. Pure: a state in, a state out, VersionsError where it does not allow that.
"""

from __future__ import annotations

from dataclasses import replace

from router.model.versions import Versions, VersionsError

__all__ = ["in_shadow", "promoted", "rolled_back", "served_now", "without_shadow"]


def in_shadow(versions: Versions, number: str) -> Versions:
    """Return the state with this version in shadow, in the place of one that is there."""
    return replace(versions, shadow=number)


def served_now(versions: Versions, number: str) -> Versions:
    """Return the state with this version served; the one that was served can be rolled back to."""
    shadow = None if versions.shadow == number else versions.shadow
    return Versions(number, shadow, (*versions.before, versions.served))


def promoted(versions: Versions) -> Versions:
    """Return the state with the shadow served."""
    if versions.shadow is None:
        raise VersionsError("no version is in shadow, so there is none to promote; `coe router retrain` makes one")
    return served_now(versions, versions.shadow)


def rolled_back(versions: Versions) -> Versions:
    """Return the state with what was served before; what was served is out, and a shadow stays one."""
    if not versions.before:
        raise VersionsError(f"nothing was served before version {versions.served}, so there is no way back")
    *before, served = versions.before
    return Versions(served, None if versions.shadow == served else versions.shadow, tuple(before))


def without_shadow(versions: Versions) -> Versions:
    """Return the state without a shadow."""
    if versions.shadow is None:
        raise VersionsError("no version is in shadow")
    return replace(versions, shadow=None)
