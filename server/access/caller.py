"""Who asks: the key of a request, or the one caller that stands for everybody where no keys are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from server.access.limits import Allowance

__all__ = ["ANYBODY", "Caller", "caller_of"]

SCOPE = "coe.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """The name of a key, what it may do, and whom it shares KV prefixes with.

    `owner` is what the answers of this key leave behind under; nobody else has the same. `allowance` is None for a
    stranger, who may only ask what everybody may.
    """

    owner: str
    prefix_group: str
    allowance: Allowance | None = None
    is_admin: bool = False

    @property
    def may_know_more(self) -> bool:
        """Whether it may know what a stranger may not: which experts there are."""
        return self.allowance is not None


ANYBODY = Caller("", "")


def caller_of(request: HTTPConnection) -> Caller:
    """Return who sent a request; the door has found out."""
    caller: Caller = request.scope[SCOPE]
    return caller
