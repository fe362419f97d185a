"""The values that cross module boundaries: requests, decisions, events of a generation.

Everything here is frozen; the runtime, the engine and the cache own state and hand these out. Times are seconds on the
monotonic clock, sizes are bytes. Knows nothing about HTTP, torch or files.
"""

from __future__ import annotations

from coe.types.conversation import (
    CallDelta,
    Grammar,
    GrammarKind,
    Message,
    PromptForm,
    ThoughtMarks,
    Tool,
    ToolCall,
    ToolChoice,
)
from coe.types.generation import (
    Admitted,
    Cached,
    Delta,
    Finished,
    FinishReason,
    GenerateEvent,
    Likelihood,
    PromptScored,
    Routed,
    Switch,
    TokenLogprob,
    Usage,
)
from coe.types.places import BreakerState, SwitchKind, Tier
from coe.types.requests import GenerateRequest, Sampling
from coe.types.routing import (
    CostTerm,
    Decision,
    Neighbour,
    PassedOver,
    PassedOverReason,
    RouteQuery,
    Router,
    ShadowChoice,
    Snapshot,
)

__all__ = [
    "Admitted",
    "BreakerState",
    "Cached",
    "CallDelta",
    "CostTerm",
    "Decision",
    "Delta",
    "FinishReason",
    "Finished",
    "GenerateEvent",
    "GenerateRequest",
    "Grammar",
    "GrammarKind",
    "Likelihood",
    "Message",
    "Neighbour",
    "PassedOver",
    "PassedOverReason",
    "PromptForm",
    "PromptScored",
    "RouteQuery",
    "Routed",
    "Router",
    "Sampling",
    "ShadowChoice",
    "Snapshot",
    "Switch",
    "SwitchKind",
    "ThoughtMarks",
    "Tier",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "Usage",
]
