"""Chat templates that know tools, written after those of published models, much shorter: what they do with tools, calls
and thoughts is the same kind of thing. The whole ones were read and rendered in December 2026, in the copies that
ik_llama.cpp (models/templates) and TRL (trl/chat_templates) have. Knows nothing about coe.
"""

from __future__ import annotations

__all__ = ["TOOL_TEMPLATES"]

_START = "{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}"
_OPEN = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"

TOOL_TEMPLATES = {
    "qwen-3": (
        "{%- if tools %}{{- '<|im_start|>system\\n' }}{%- if messages[0].role == 'system' %}"
        "{{- messages[0].content + '\\n\\n' }}{%- endif %}{{- '# Tools\\n<tools>' }}{%- for tool in tools %}"
        "{{- '\\n' }}{{- tool | tojson }}{%- endfor %}{{- '\\n</tools>\\n<tool_call>\\n{\"name\": <function-name>, "
        "\"arguments\": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}{%- elif messages[0].role == 'system' %}"
        "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}"
        "{%- set ns = namespace(last=messages|length - 1, found=false) %}{%- for message in messages[::-1] %}"
        "{%- if message.role == 'user' and not ns.found %}{%- set ns.found = true %}"
        "{%- set ns.last = messages|length - 1 - loop.index0 %}{%- endif %}{%- endfor %}"
        "{%- for message in messages %}{%- if message.role == 'user' or (message.role == 'system' and not "
        "loop.first) %}"
        + _START
        + "{%- elif message.role == 'assistant' %}{%- set thought = '' %}{%- if message.reasoning_content is string %}"
        "{%- set thought = message.reasoning_content %}{%- endif %}{{- '<|im_start|>assistant\\n' }}"
        "{%- if loop.index0 > ns.last and thought %}{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}"
        "{%- endif %}{{- message.content }}{%- for tool_call in message.tool_calls or [] %}"
        "{%- if (loop.first and message.content) or not loop.first %}{{- '\\n' }}{%- endif %}"
        "{%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}"
        '{{- \'<tool_call>\\n{"name": "\' + tool_call.name + \'", "arguments": \' }}'
        "{%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}"
        "{{- tool_call.arguments | tojson }}{%- endif %}{{- '}\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}"
        "{%- elif message.role == 'tool' %}{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}"
        "{{- '<|im_start|>user' }}{%- endif %}{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}"
        "{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}"
        "{%- endif %}{%- endfor %}"
        + _OPEN
        + "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}"
        "{%- endif %}{%- endif %}"
    ),
    "qwq": (
        "{%- for message in messages %}{%- set content = message.content.split('</think>')[-1] %}"
        "{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}{%- endfor %}"
        + _OPEN
        + "{{- '<think>\\n' }}{%- endif %}"
    ),
    "qwen-3-coder": (
        "{%- if tools %}{{- '<|im_start|>system\\n# Tools\\n<tools>' }}{%- for tool in tools %}"
        "{{- '\\n<function>\\n<name>' ~ tool.function.name ~ '</name>\\n' ~ tool.function.parameters | tojson ~ "
        "'\\n</function>' }}{%- endfor %}{{- "
        "'\\n</tools>\\n<tool_call>\\n<function=example>\\n</function>\\n</tool_call>"
        "<|im_end|>\\n' }}{%- endif %}{%- for message in messages %}{%- if message.role == 'assistant' %}"
        "{{- '<|im_start|>assistant' }}{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}"
        "{%- for tool_call in message.tool_calls or [] %}{{- '\\n<tool_call>\\n<function=' + tool_call.function.name + "
        "'>\\n' }}{%- for name, value in tool_call.function.arguments|items %}{{- '<parameter=' + name + '>\\n' + "
        "(value if value is string else value | tojson) + '\\n</parameter>\\n' }}{%- endfor %}"
        "{{- '</function>\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- elif message.role == 'tool' %}"
        "{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}"
        "{%- else %}" + _START + "{%- endif %}{%- endfor %}" + _OPEN + "{%- endif %}"
    ),
    "llama-3.1": (
        "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system_message = "
        "messages[0]['content']|trim %}"
        "{%- set messages = messages[1:] %}{%- else %}{%- set system_message = '' %}{%- endif %}"
        "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}{%- if tools is not none %}"
        "{{- 'Environment: ipython\\n' }}{%- endif %}{{- system_message + '<|eot_id|>' }}{%- if tools is not none %}"
        "{%- set first = messages[0]['content']|trim %}{%- set messages = messages[1:] %}"
        '{{- \'<|start_header_id|>user<|end_header_id|>\\n\\nRespond in the format {"name": function name, '
        '"parameters": dictionary of argument name and its value}.\\n\\n\' }}{%- for t in tools %}'
        "{{- t | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}{{- first + '<|eot_id|>' }}{%- endif %}"
        "{%- for message in messages %}{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' "
        "in message) %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
        "message['content'] | trim + '<|eot_id|>' }}{%- elif 'tool_calls' in message %}"
        "{%- if not message.tool_calls|length == 1 %}"
        "{{- raise_exception('This model only supports single tool-calls at once!') }}{%- endif %}"
        "{%- set tool_call = message.tool_calls[0].function %}"
        '{{- \'<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "\' + tool_call.name + \'", '
        "\"parameters\": ' }}{{- tool_call.arguments | tojson }}{{- '}<|eot_id|>' }}"
        "{%- elif message.role == 'tool' or message.role == 'ipython' %}"
        "{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}{%- if message.content is mapping or "
        "message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}"
        "{{- '<|eot_id|>' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
    ),
    "mistral": (
        "{%- set user_messages = messages | selectattr('role', 'equalto', 'user') | list %}{{- bos_token }}"
        "{%- for message in messages %}{%- if message.role == 'user' %}{%- if tools is not none and "
        "message == user_messages[-1] %}{{- '[AVAILABLE_TOOLS] [' }}{%- for tool in tools %}{{- tool | tojson }}"
        "{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- '][/AVAILABLE_TOOLS]' }}{%- endif %}"
        "{{- '[INST] ' + message.content + '[/INST]' }}{%- elif message.tool_calls is defined and "
        "message.tool_calls is not none %}{{- '[TOOL_CALLS] [' }}{%- for tool_call in message.tool_calls %}"
        "{%- set out = tool_call.function | tojson %}{{- out[:-1] }}{%- if not tool_call.id is defined or "
        "tool_call.id|length != 9 %}{{- raise_exception('Tool call IDs should be alphanumeric strings with "
        "length 9!') }}"
        "{%- endif %}{{- ', \"id\": \"' + tool_call.id + '\"}' }}{%- if not loop.last %}{{- ', ' }}{%- else %}"
        "{{- ']' + eos_token }}{%- endif %}{%- endfor %}{%- elif message.role == 'assistant' %}"
        "{{- ' ' + message.content + eos_token }}{%- elif message.role == 'tool' %}"
        "{%- if message.tool_call_id|length != 9 %}{{- raise_exception('Tool call IDs') }}{%- endif %}"
        '{{- \'[TOOL_RESULTS] {"content": \' + message.content|string + \', "call_id": "\' + message.tool_call_id + '
        "'\"}[/TOOL_RESULTS]' }}{%- else %}{{- raise_exception('Only user and assistant roles are supported!') }}"
        "{%- endif %}{%- endfor %}"
    ),
    "deepseek": (
        "{%- set ns = namespace(is_first=true) %}{{- bos_token }}{%- if tools %}{{- '## Tools' }}{%- for "
        "tool in tools %}"
        "{{- '\\n### ' + tool.function.name + '\\n' + tool.function.parameters|tojson }}{%- endfor %}{%- endif %}"
        "{%- for message in messages %}{%- if message['role'] == 'user' %}{{- '<｜User｜>' + message['content'] }}"
        "{%- elif message['role'] == 'assistant' and message['content'] is none %}{%- for tool in "
        "message['tool_calls'] %}"
        "{%- if loop.first %}{{- '<｜Assistant｜><｜tool▁calls▁begin｜>' }}{%- endif %}"
        "{{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + tool['function']['name'] + '\\n```json\\n' + "
        "tool['function']['arguments'] + '\\n```<｜tool▁call▁end｜>' }}{%- if loop.last %}"
        "{{- '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}{%- endif %}{%- endfor %}"
        "{%- elif message['role'] == 'assistant' %}{{- '<｜Assistant｜>' + message['content'].split('</think>')[-1] + "
        "'<｜end▁of▁sentence｜>' }}{%- elif message['role'] == 'tool' %}"
        "{{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}"
    ),
    "granite-3.3": (
        "{%- if tools %}{{- '<|start_of_role|>system<|end_of_role|>Respond only with <|tool_call|> followed by a JSON "
        "list of tools used.<|end_of_text|>\n<|start_of_role|>available_tools<|end_of_role|>' }}{{- tools | "
        "tojson(indent=4) }}{{- '<|end_of_text|>\n' }}{%- endif %}{%- for message in messages %}"
        "{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}"
        "{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}"
    ),
    "gpt-oss": (
        "{%- if tools %}{{- '<|start|>developer<|message|># Tools\n' }}{%- for tool in tools %}{{- 'type ' + "
        "tool.function.name + ' = (_: ' ~ tool.function.parameters | tojson ~ ')' }}{%- endfor %}{{- '<|end|>' }}"
        "{%- endif %}{%- for message in messages %}{%- if message.role == 'assistant' and 'tool_calls' in message %}"
        "{%- if message.content and message.thinking %}{{- raise_exception('Cannot pass both content and thinking in "
        "an assistant message with tool calls!') }}{%- elif message.content or message.thinking %}"
        "{{- '<|start|>assistant<|channel|>analysis<|message|>' + (message.content or message.thinking) + '<|end|>' }}"
        "{%- endif %}{%- set call = message.tool_calls[0].function %}{{- '<|start|>assistant to=functions.' + "
        "call.name + '<|channel|>commentary json<|message|>' + call.arguments | tojson + '<|call|>' }}"
        "{%- elif message.role == 'assistant' %}{{- '<|start|>assistant<|channel|>final<|message|>' }}"
        "{{- message.content + '<|end|>' }}{%- elif message.role == 'tool' %}"
        "{{- '<|start|>functions.f to=assistant' }}"
        "{{- '<|channel|>commentary<|message|>' + message.content | tojson + '<|end|>' }}{%- else %}"
        "{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"
    ),
}
