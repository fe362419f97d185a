"""What of a request the router may look at, and what its expert is given."""

from __future__ import annotations

from coe.preparation import query_of
from coe.types import GenerateRequest, Message, Tool, ToolCall

CALL = ToolCall("call_1", "weather", '{"city": "Paris"}')
CONVERSATION = (
    Message("user", "What is the weather in Paris?"),
    Message("assistant", "I look.", "secret thought", (CALL,)),
    Message("tool", "secret result", tool_call_id="call_1", name="weather"),
)


def test_the_router_reads_no_thoughts_no_calls_and_no_results_and_knows_that_there_are_tools() -> None:
    query = query_of(GenerateRequest("r", CONVERSATION, tools=(Tool("weather"),), owner="me", conversation="c"))
    assert query.messages == (CONVERSATION[0], Message("assistant", "I look."), Message("tool", ""))
    assert (query.has_tools, query.owner, query.conversation) == (True, "me", "c")
    assert not query_of(GenerateRequest("r", CONVERSATION)).has_tools
