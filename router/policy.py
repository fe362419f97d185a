"""The routing policy: explicit expert, mention, rule, category, doubt, price of a switch, conversation, in that order.

Owns the order. Pure: a decision depends on the query, the scores of its turn, the snapshot of the experts and the
previous turn's expert, on nothing else. Knows nothing about embeddings, files or torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from coe.types import CostTerm, Decision, RouteQuery, Snapshot
from router.directory import Directory
from router.mapping import checked_mapping
from router.rules import Match, Rules
from router.stickiness import DEFAULT_STICKINESS
from router.switch_price import SwitchPrice
from router.turn import Previous, Turn, last_user_turn

__all__ = ["RoutingPolicy"]

CLEAR = ("category", "cost", "rule")  # reasons under which a decision's category is the turn's topic


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """What decides beside the query. `mapping` is category -> expert; other categories go to the general expert.

    A turn stays with its conversation's expert when the chance that it needs the turn before is above 1 - `stickiness`,
    or its category is that of the turn before. At 0 every turn is routed by itself.
    """

    directory: Directory
    mapping: Mapping[str, str] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    price: SwitchPrice = field(default_factory=SwitchPrice)
    stickiness: float = DEFAULT_STICKINESS

    def __post_init__(self) -> None:
        if not 0.0 <= self.stickiness <= 1.0:
            raise ValueError(f"stickiness {self.stickiness}: must lie in 0 to 1; 0 routes every turn by itself")

    def checked(self, categories: Sequence[str]) -> RoutingPolicy:
        """Return it in the spelling of a router's categories and of the experts' own names.

        Raises:
            ValueError: an unknown category or expert, a hole in the expected scores, a mapped expert without one.
        """
        rules = self.rules.checked(categories, self.directory)
        price = replace(self.price, learned=self.price.learned.checked(categories, self.directory))
        mapping = checked_mapping(self.mapping, categories, self.directory)
        price.check(mapping, self.directory.general)
        return replace(self, mapping=mapping, rules=rules, price=price)

    def before_classifying(self, query: RouteQuery) -> Decision | None:
        """Return the decision that needs no classifier, None if the last user turn has to be classified.

        Raises:
            UnknownExpertError: the query names an expert that the directory does not have.
        """
        text = last_user_turn(query.messages)
        if query.expert is not None:
            expert = self.directory.requested(query.expert)
            return Decision(expert, None, None, "model", text, because=f"the request names {expert}")
        if mention := self.directory.mention(text):
            because = f"the prompt begins with @{mention.expert}"
            return Decision(mention.expert, None, None, "mention", mention.text, because=because)
        if match := self.rules.match(text, has_tools=query.has_tools):
            return self._with_alternatives(self._ruled(match, text, query.snapshot), query.snapshot)
        return None

    def decide(self, turn: Turn, snapshot: Snapshot, previous: Previous | None = None) -> Decision:
        """Return the decision for a classified turn; `previous` is the turn before it in the conversation."""
        decision = self._by_category(turn, snapshot)
        if previous is not None and previous.expert not in snapshot.broken:
            decision = self._unless_moved(decision, turn, previous)
        return self._with_alternatives(decision, snapshot)

    def after(self, decision: Decision, previous: Previous | None) -> Previous:
        """Return what the conversation's next turn has to know of this one."""
        if decision.why in CLEAR:
            return Previous(decision.expert, decision.category)
        if previous is not None and previous.expert == decision.expert:
            return previous
        return Previous(decision.expert)

    def _with_alternatives(self, decision: Decision, snapshot: Snapshot) -> Decision:
        """Add who answers where the expert cannot: that of the next likeliest category, then the general one.

        An expert that is known to be broken is no alternative, but for the general one: it is the last there is.
        """
        general, likely = self.directory.general, decision.probabilities
        ranked = [self.mapping.get(category, general) for category in sorted(likely, key=lambda name: -likely[name])]
        able = [expert for expert in ranked if expert != decision.expert and expert not in snapshot.broken]
        alternatives = dict.fromkeys((*able[:1], general))
        return replace(decision, alternatives=tuple(name for name in alternatives if name != decision.expert))

    def _ruled(self, match: Match, text: str, snapshot: Snapshot) -> Decision:
        rule, because = match.rule, f"rule {match.number}: {match.reason}"
        if rule.category is None:
            assert rule.expert is not None
            return Decision(rule.expert, None, None, "rule", text, because=because, rule=match.number)
        turn = Turn(text, {}, "")
        decision = self._for_category(rule.category, turn, f"{because}, category {rule.category}", snapshot)
        return replace(decision, why="rule", rule=match.number)

    def _by_category(self, turn: Turn, snapshot: Snapshot) -> Decision:
        general = self.directory.general
        if not turn.probabilities:
            because = f"there is nothing to classify, {general} answers"
            return Decision(general, None, None, "general", turn.text, because=because)
        category = max(turn.probabilities, key=lambda name: turn.probabilities[name])
        confidence = turn.confidence_of(category)
        if not turn.doubt:
            return self._for_category(category, turn, f"category {category} at {confidence:.2f}", snapshot)
        because = f"{turn.doubt}, {general} answers"
        return Decision(
            general, category, confidence, "abstain", turn.text, turn.probabilities, because, nearest=turn.nearest
        )

    def _for_category(self, category: str, turn: Turn, because: str, snapshot: Snapshot) -> Decision:
        mapped = self.mapping.get(category)
        expert = mapped or self.directory.general
        cost = self.price.weigh(turn.probabilities or {category: 1.0}, expert, snapshot)
        decision = Decision(
            expert,
            category,
            turn.confidence_of(category) if turn.probabilities else None,
            "category",
            turn.text,
            turn.probabilities,
            because if mapped else f"{because}, which has no expert",
            cost=cost,
            nearest=turn.nearest,
        )
        if cost is None or cost.chosen == expert:
            return decision
        because = f"{because}; {weighed(cost)}"
        return replace(decision, expert=cost.chosen, why="cost", because=because, instead_of=expert)

    def _unless_moved(self, decision: Decision, turn: Turn, previous: Previous) -> Decision:
        """Return the decision, or the conversation's expert unless the turn stands alone."""
        is_same_topic = not turn.doubt and decision.category is not None and decision.category == previous.category
        is_follow_up = turn.follow_up > 1 - self.stickiness
        stays = turn.is_under_way or is_follow_up or is_same_topic
        if decision.expert == previous.expert or not self.stickiness or not stays:
            return decision
        why = "its topic is the same" if is_same_topic else f"it needs the turn before with {turn.follow_up:.2f}"
        because = f"a follow-up stays with {previous.expert}: {why}"
        if turn.is_under_way:
            because = f"{previous.expert} has called the tools whose results it gets"
        return replace(
            decision,
            expert=previous.expert,
            why="conversation",
            because=because,
            instead_of=decision.expert,
            cost=None,
        )


def weighed(cost: CostTerm) -> str:
    """Return in words why the chosen expert is worth more than the mapped one."""
    return (
        f"{cost.chosen} is expected to score {cost.chosen_score:.3f} {_when(cost.chosen_load_s)} where {cost.mapped} "
        f"scores {cost.mapped_score:.3f} {_when(cost.mapped_load_s)}"
    )


def _when(load_s: float) -> str:
    return f"after {load_s:.2f} s of loading" if load_s else "at once"
