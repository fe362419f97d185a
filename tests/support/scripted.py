"""A router whose prompts say their own probabilities, for tests of what follows from a decision."""

from __future__ import annotations

from collections.abc import Sequence

from coe.types import Decision, RouteQuery
from router.directory import Directory
from router.policy import RoutingPolicy
from router.rules import Rule, Rules
from router.turn import Turn, last_user_turn
from router.wishes import wished

EXPERTS = ("general", "code", "sql", "maths", "broken")


class Scripted:
    """The real policy over probabilities that the prompt itself gives: `code 0.6 sql 0.3`."""

    def __init__(self) -> None:
        names = {name: name for name in EXPERTS} | {"database": "sql"}
        rules = Rules([Rule(expert="code", keywords=("by rule",)), Rule(expert="broken", keywords=("by bad rule",))])
        mapping = {name: name for name in EXPERTS if name != "general"}
        self.policy = RoutingPolicy(Directory(names, "general"), mapping, rules=rules, stickiness=0.0)

    def route(self, queries: Sequence[RouteQuery]) -> list[Decision]:
        return [self._wished(self.policy.before_classifying(query) or self._decide(query), query) for query in queries]

    def _wished(self, decision: Decision, query: RouteQuery) -> Decision:
        return wished(decision, query, self.policy.mapping, self.policy.directory)

    def _decide(self, query: RouteQuery) -> Decision:
        text = last_user_turn(query.messages)
        words = text.split()
        probabilities = {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
        return self.policy.decide(Turn(text, probabilities, ""), query.snapshot)
