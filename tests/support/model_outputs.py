"""What models of each family print when they call tools.

`RECORDED` has the form's name, the text, the calls in it, and the text for people. Nothing here was printed by a model
that we ran. What `FROM_SOURCES` has was looked up in December 2026: marks, order and white space are those of the
source that is named there, tools and values are those of `TOOLS`. `WRITTEN` is ours, after what templates write: cases
that none of these sources has, and turns cut short. Knows nothing about coe's parsers.

Read for it: llama.cpp's tests/test-chat.cpp, in ik_llama.cpp's copy of August 2026; vLLM's tests/tool_parsers
(llama3_json, llama4_pythonic, lfm2, mistral, granite, phi4mini, internlm2, jamba, xlam, minimax_m2) and its template
for Phi-4-mini; OpenAI's harmony docs/format.md and test-data; mistral-common's tests of its tokenizers v11 and v13.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["RECORDED", "TOOLS", "Recorded"]

TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "units": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "exact": {"type": "boolean"},
        },
        "required": ["city"],
    },
    "get_time": {"type": "object", "properties": {}},
    "run_code": {"type": "object", "properties": {"code": {"type": "string"}, "limits": {"type": "object"}}},
    "brave_search": {"type": "object", "properties": {"query": {"type": "string"}}},
    "spotify.play": {"type": "object", "properties": {"tracks": {"type": "array", "items": {"type": "string"}}}},
}

Call = tuple[str, dict[str, Any]]
PARIS: Call = ("get_weather", {"city": "Paris"})
ROME: Call = ("get_weather", {"city": "Rome", "days": 3})
TIME: Call = ("get_time", {})


class Recorded(NamedTuple):
    form: str
    text: str
    calls: tuple[Call, ...] = ()
    said: str = ""


HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
HERMES_ROME = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "days": 3}}\n</tool_call>'
CODER = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
    "</function>\n</tool_call>"
)
CODE = 'def f(x):\n    return "<b>" if x < 3 else \'{"a": 1}\''
GLM = (
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n<arg_key>days</arg_key>\n"
    "<arg_value>3</arg_value>\n</tool_call>"
)
SEED = (
    "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Rome</parameter>\n<parameter=days>3</parameter>\n"
    "</function>\n</seed:tool_call>"
)
DEEPSEEK = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Paris"}\n```<｜tool▁call▁end｜>'
)
DEEPSEEK_31 = (
    '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜>'
    '<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Rome", "days": 3}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)

FROM_SOURCES = (
    # llama.cpp, tests/test-chat.cpp
    Recorded("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>', (PARIS,)),
    Recorded("hermes", f"I look.\nNow.{HERMES}", (PARIS,), "I look.\nNow."),
    Recorded("qwen3-coder", f"{CODER}\n{CODER}", (ROME, ROME)),
    Recorded(
        "qwen3-coder",
        "<tool_call>\n<function=run_code>\n<parameter=code>\ndef f():\n    print(1)\n\nf()\n</parameter>\n"
        "</function>\n</tool_call>",
        (("run_code", {"code": "def f():\n    print(1)\n\nf()"}),),
    ),
    Recorded("glm", GLM, (ROME,)),
    Recorded("glm", GLM.replace("\n", ""), (ROME,)),  # GLM 4.7
    Recorded("glm", "<tool_call>get_time</tool_call>", (TIME,)),
    Recorded("llama-3", '<function=get_weather>{"city": "Paris"}</function>', (PARIS,)),  # Functionary 3.1
    Recorded("pythonic", '<|tool_call_start|>[get_weather(city="Paris")]<|tool_call_end|>', (PARIS,)),
    Recorded("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city":"Paris"}', (PARIS,)),
    Recorded(
        "mistral",
        '[TOOL_CALLS]get_weather[CALL_ID]000000001[ARGS]{"city": "Paris"}'
        "[TOOL_CALLS]get_time[CALL_ID]000000002[ARGS]{}",
        (PARIS, TIME),
    ),
    Recorded(
        "mistral", '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "123456789"}]', (PARIS,)
    ),
    Recorded(
        "deepseek",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Paris"}```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        (PARIS,),
    ),
    Recorded("deepseek", f"Both.{DEEPSEEK_31}", (PARIS, ROME), "Both."),
    Recorded(
        "command-r",
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Paris"}}\n]'
        "<|END_ACTION|>",
        (PARIS,),
    ),
    Recorded(
        "json", 'Action:\n```json\n[{"tool_name": "get_weather", "parameters": {"city": "Paris"}}]\n```', (PARIS,)
    ),
    Recorded("phi-4", ' functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]', (PARIS,)),  # FireFunction
    Recorded("seed", f"{SEED}\n{SEED}", (ROME, ROME)),
    Recorded(
        "seed",
        "<seed:tool_call>\n<function=run_code>\n<parameter=code>def f():\n    pass\n\n</parameter>\n</function>\n"
        "</seed:tool_call>",
        (("run_code", {"code": "def f():\n    pass\n"}),),
    ),
    Recorded(
        "minimax",
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n</invoke>\n'
        "</minimax:tool_call>",
        (PARIS,),
    ),
    Recorded("minimax", '<minimax:tool_call>\n<invoke name="get_time">\n</invoke>\n</minimax:tool_call>', (TIME,)),
    Recorded(
        "deepseek-3.2",
        'I look.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">Rome</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        '<｜DSML｜invoke name="run_code">\n<｜DSML｜parameter name="code" string="true">1</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        (ROME, ("run_code", {"code": "1"})),
        "I look.",
    ),
    Recorded(
        "kimi",
        "I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Paris"}<|tool_call_end|><|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}'
        "<|tool_call_end|><|tool_calls_section_end|>",
        (PARIS, TIME),
        "I look.",
    ),
    Recorded(  # without its section, and without an end
        "kimi",
        '<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Paris"}',
        (PARIS,),
    ),
    Recorded("nemotron", '<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Paris"}}]</TOOLCALL>', (PARIS,)),
    Recorded("jamba", '<tool_calls>[{"name": "get_weather", "arguments": {"city": "Paris"}}]</tool_calls>', (PARIS,)),
    # vLLM, tests/tool_parsers
    Recorded("llama-3", '{"name": "get_weather", "arguments": {"city": "Paris"}}', (PARIS,)),
    Recorded(
        "llama-3",
        '{"name": "get_weather", "parameters": {"city": "Paris"}} ; {"name": "get_time", "parameters": {}}',
        (PARIS, TIME),
    ),
    Recorded(
        "llama-3",
        '{"name": "get_weather", "parameters": {"city": "Paris"}} I used {get_weather} for this.',
        (PARIS,),
        "I used {get_weather} for this.",
    ),
    Recorded("pythonic", "[get_weather(city='Paris'),get_time()]", (PARIS, TIME)),
    Recorded("pythonic", "<|python_start|>[get_weather(city='Paris'), get_time()]", (PARIS, TIME)),
    Recorded(
        "pythonic",
        "<|tool_call_start|> [get_weather(city='Martha\\'s \"V\"', exact=True, units=None)]<|tool_call_end|>\nI look.",
        (("get_weather", {"city": 'Martha\'s "V"', "exact": True, "units": None}),),
        "I look.",
    ),
    Recorded(  # a line end inside a string is no Python
        "pythonic",
        "<|tool_call_start|>[run_code(code='cat > f.py << EOF\nimport csv\nprint(\"]\")\nEOF')]<|tool_call_end|>",
        (("run_code", {"code": 'cat > f.py << EOF\nimport csv\nprint("]")\nEOF'}),),
    ),
    Recorded("pythonic", "[spotify.play(tracks={'b'})]", (("spotify.play", {"tracks": ["b"]}),)),
    Recorded("mistral", '[TOOL_CALLS] [{"arguments":{"city": "Paris"}, "name": "get_weather"}]', (PARIS,)),
    Recorded("mistral", '[TOOL_CALLS]get_weather{"city": "Paris"}[TOOL_CALLS]get_time{}', (PARIS, TIME)),
    Recorded(
        "granite",
        '<|tool_call|> [\n  {"name": "get_weather", "arguments": {"city": "Paris"}},\n'
        '  {"name": "get_time", "arguments": {}}\n]',
        (PARIS, TIME),
    ),
    Recorded(
        "granite",
        'I look.\n<|tool_call|> [{"arguments": {"city": "Paris"}, "name": "get_weather"}]\nWait.',
        (PARIS,),
        "I look.Wait.",
    ),
    Recorded("granite", '<tool_call> [{"name": "get_weather", "arguments": {"city": "Paris"}}]', (PARIS,)),  # 3.1
    Recorded(
        "phi-4",
        'functools[\n  {"name": "get_weather", "arguments": {"city": "Paris"}},\n'
        '  {"name": "get_time", "arguments": {}}\n]',
        (PARIS, TIME),
    ),
    Recorded(
        "internlm",
        'I look. <|action_start|><|plugin|>{"name": "get_weather", "parameters": {"city": "Paris"}}<|action_end|>',
        (PARIS,),
        "I look.",
    ),
    Recorded(
        "jamba",
        'I look.<tool_calls>[\n    {"name": "get_weather", "arguments": {"city": "Paris"}},\n'
        '    {"name": "get_time", "arguments": {}}\n]</tool_calls>',
        (PARIS, TIME),
        "I look.",
    ),
    Recorded(  # xLAM
        "json",
        'I look.\n```json\n[{"name": "get_weather", "arguments": {"city": "Paris"}}]\n```',
        (PARIS,),
        "I look.",
    ),
    Recorded(
        "minimax",
        '<minimax:tool_call><invoke name="get_weather"><parameter name="city">Rome</parameter>'
        '<parameter name="days">3</parameter></invoke><invoke name="get_time"></invoke></minimax:tool_call>',
        (ROME, TIME),
    ),
    # Meta's examples of built-in tools, as Microsoft's "Generative AI for beginners" shows them
    Recorded(
        "llama-3",
        '<|python_tag|>brave_search.call(query="weather in Paris")',
        (("brave_search", {"query": "weather in Paris"}),),
    ),
)

WRITTEN = (
    Recorded("hermes", HERMES, (PARIS,)),
    Recorded("hermes", f"{HERMES}\n{HERMES_ROME}", (PARIS, ROME)),
    Recorded("hermes", f"I'll look that up.\n{HERMES}", (PARIS,), "I'll look that up."),
    Recorded("hermes", f"\n\n{HERMES}\n", (PARIS,)),
    Recorded("hermes", HERMES.removesuffix("\n</tool_call>"), (PARIS,)),  # the end of the turn closes it, too
    Recorded("hermes", '<tool_call>{"name": "get_time"}</tool_call>', (TIME,)),
    Recorded("hermes", '<tool_call>[{"name": "get_time", "arguments": {}}]</tool_call>', (TIME,)),  # SmolLM2
    Recorded(
        "hermes",
        '<tool_call>\n{"name": "run_code", "arguments": {"code": "print(\'</tool_call>\')\\n"}}\n</tool_call>',
        (("run_code", {"code": "print('</tool_call>')\n"}),),
    ),
    Recorded(
        "hermes",
        '<tool_call>\n{"arguments": "{\\"city\\": \\"Zürich 🏔\\"}", "name": "get_weather"}\n</tool_call>',
        (("get_weather", {"city": "Zürich 🏔"}),),
    ),
    Recorded("qwen3-coder", CODER, (ROME,)),
    Recorded("qwen3-coder", f"Sure.\n\n{CODER}\n{CODER}", (ROME, ROME), "Sure."),
    Recorded("qwen3-coder", "<tool_call>\n<function=get_time>\n</function>\n</tool_call>", (TIME,)),
    Recorded(
        "qwen3-coder",
        f"<tool_call>\n<function=run_code>\n<parameter=code>\n{CODE}\n</parameter>\n<parameter=limits>\n"
        '{"s": 2.5, "tags": ["a", null]}\n</parameter>\n</function>\n</tool_call>',
        (("run_code", {"code": CODE, "limits": {"s": 2.5, "tags": ["a", None]}}),),
    ),
    Recorded("qwen3-coder", CODER.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"), (ROME,)),
    Recorded("glm", f"{GLM}\n<tool_call>get_time\n</tool_call>", (ROME, TIME)),
    Recorded("llama-3", '{"name": "get_weather", "parameters": {"city": "Paris"}}', (PARIS,)),
    Recorded("llama-3", '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}', (PARIS,)),
    Recorded(
        "llama-3",
        '{"name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "get_time", "parameters": {}}',
        (PARIS, TIME),
    ),
    Recorded(
        "llama-3",
        '{"type": "function", "function": {"name": "get_weather", "parameters": {"city": "Paris"}}}',
        (PARIS,),
    ),
    Recorded("pythonic", "[get_weather(city=\"Paris\"), get_weather(city='Rome', days=3)]", (PARIS, ROME)),
    Recorded("pythonic", '<|python_start|>[get_weather(city="Paris"), get_time()]<|python_end|>', (PARIS, TIME)),
    Recorded(
        "pythonic", '<|tool_call_start|>[get_weather(city="Paris")]<|tool_call_end|>Looking.', (PARIS,), "Looking."
    ),
    Recorded(
        "pythonic",
        '[spotify.play(tracks=["a", "b"]), get_weather(city="Rome", exact=true)]',
        (("spotify.play", {"tracks": ["a", "b"]}), ("get_weather", {"city": "Rome", "exact": True})),
    ),
    Recorded("mistral", '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]', (PARIS,)),
    Recorded(
        "mistral",
        'Let me see. [TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "aB3dE5gH7"}, '
        '{"name": "get_weather", "arguments": {"city": "Rome", "days": 3}}]',
        (PARIS, ROME),
        "Let me see.",
    ),
    Recorded("mistral", '[TOOL_CALLS]get_weather[CALL_ID]aB3dE5gH7[ARGS]{"city": "Paris"}', (PARIS,)),
    Recorded("granite", '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]', (PARIS,)),
    Recorded("granite", '<tool_call>[{"name": "get_weather", "arguments": {"city": "Paris"}}]', (PARIS,)),
    Recorded("phi-4", '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|/tool_call|>', (PARIS,)),
    Recorded("phi-4", 'functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]', (PARIS,)),
    Recorded("deepseek", f"{DEEPSEEK}<｜tool▁calls▁end｜>", (PARIS,)),
    Recorded(
        "deepseek",
        f"Checking both.\n{DEEPSEEK}\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\n```json\n{{}}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        (PARIS, TIME),
        "Checking both.",
    ),
    Recorded("deepseek", DEEPSEEK_31, (PARIS, ROME)),
    Recorded("json", '{"name": "get_weather", "arguments": {"city": "Paris"}}', (PARIS,)),
    Recorded("json", '```json\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n```', (PARIS,)),
    Recorded("json", '[{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "get_time"}]', (PARIS, TIME)),
)

RECORDED = (*FROM_SOURCES, *WRITTEN)

NO_CALLS = (
    Recorded("hermes", "The weather is fine.\n", (), "The weather is fine.\n"),
    Recorded("hermes", "Use <tool_call> to call.", (), "Use <tool_call> to call."),
    Recorded("hermes", "a < b and <too", (), "a < b and <too"),
    Recorded("hermes", "x \n<tool_call>\n{broken}\n</tool_call> y", (), "x \n<tool_call>\n{broken}\n</tool_call> y"),
    *(
        Recorded("hermes", text, (), text)
        for text in (
            '<tool_call>{"name": "no_such_tool", "arguments": {}}</tool_call>',
            '<tool_call>{"name": "get_weather", "arguments": [1]}</tool_call>',
            '<tool_call>{"name": "get_weather", "arguments": {"days": NaN}}</tool_call>',
            '<tool_call>{"name": "get_weather", "arguments": {"days": 1e999}}</tool_call>',
            '<tool_call>{"name": "get_weather", "arguments": {"city": "Par',  # max_tokens
        )
    ),
    Recorded("llama-3", '{"city": "Paris", "days": 3} is JSON.', (), '{"city": "Paris", "days": 3} is JSON.'),
    Recorded("llama-3", 'See {"name": "get_time"}', (), 'See {"name": "get_time"}'),
    Recorded("llama-3", '{"name": "get_', (), '{"name": "get_'),
    Recorded("llama-3", "<|python_tag|>import os\nprint(1)", (), "import os\nprint(1)"),  # a special token is not shown
    Recorded("pythonic", "[1, 2, 3]", (), "[1, 2, 3]"),
    Recorded("pythonic", "[get_weather('Paris')]", (), "[get_weather('Paris')]"),
    Recorded("pythonic", "[get_weather(city=open('/etc/passwd'))]", (), "[get_weather(city=open('/etc/passwd'))]"),
    Recorded("mistral", "[TOOL_CALLS] nothing", (), " nothing"),
    Recorded("json", "[1, 2] and more", (), "[1, 2] and more"),
)
