"""What chat templates are tried with: conversations, and templates for the language itself.

Shared by make_chat_template.py and ../reference/check_templates.py.
"""

import datetime

# 26 July 2024, 13:05:09 UTC: what strftime_now shows.
NOW = 1721999109

SYSTEM = {"role": "system", "content": "You are terse.\nAnd exact."}
TURNS = [
    {"role": "user", "content": " How far is the moon? "},
    {"role": "assistant", "content": "384,400 km.\n"},
    {"role": "user", "content": 'In "miles", {{ not a tag }} — größer?'},
]
ANSWER = {"role": "assistant", "content": "238,855 miles."}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a <city> & its 'surroundings'.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "array", "items": {"type": "integer"}, "default": [1]},
                "detail": {
                    "type": "object",
                    "properties": {"wind": {"type": "boolean"}, "rain": {"type": ["number", "null"]}},
                    "required": ["wind"],
                    "additionalProperties": {"type": "string"},
                },
            },
            "required": ["city"],
        },
        "return": {"type": "string"},
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Die Uhrzeit – jetzt.",
        "parameters": {"type": "object", "properties": {}},
    },
}


def call(name, arguments, number):
    return {
        "id": f"call{number:05d}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def result(content, number, name="get_weather"):
    return {"role": "tool", "name": name, "tool_call_id": f"call{number:05d}", "content": content}


ASK = {"role": "user", "content": "Weather in Zürich & Paris?"}
ONE_CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [call("get_weather", {"city": "Zürich", "days": [1, 2]}, 1)],
}
TWO_CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        call("get_weather", {"city": "Zürich", "detail": {"wind": True, "rain": None}}, 1),
        call("get_time", {}, 2),
    ],
}
TEXT_CALL = {
    "role": "assistant",
    "content": "Let me see.",
    "tool_calls": [call("get_weather", '{"city": "Paris"}', 3)],
}
BARE_CALL = {
    "role": "assistant",
    "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris", "x": 1.5}}],
}
THOUGHT = {
    "role": "assistant",
    "content": "It rains.",
    "reasoning_content": "The tool says so.",
    "thinking": "The tool says so.",
}
THOUGHT_INSIDE = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nBoth agree."}
IMAGE = {
    "role": "user",
    "content": [
        {"type": "image", "url": "moon.png"},
        {"type": "text", "text": "What is\nthis? "},
    ],
}
PARTS = {"role": "assistant", "content": [{"type": "text", "text": "The moon."}]}
DOCUMENTS = [
    {"title": "Moon", "text": "It is 384,400 km away."},
    {"title": "Sun", "text": "Hot.", "doc_id": 7},
]


def case(messages, prompt=False, **variables):
    return {"messages": messages, "variables": {"add_generation_prompt": prompt, **variables}}


CASES = [
    case(TURNS[:1]),
    case(TURNS[:1], True),
    case([*TURNS, ANSWER]),
    case([SYSTEM, *TURNS], True),
    case([SYSTEM, *TURNS, ANSWER]),
    case([ASK], True, tools=[WEATHER, CLOCK]),
    case([SYSTEM, ASK, ONE_CALL, result("21 °C", 1), THOUGHT], tools=[WEATHER]),
    case(
        [ASK, TWO_CALLS, result('{"t": 21.0}', 1), result({"t": 3, "ok": True}, 2, "get_time")],
        True,
        tools=[WEATHER, CLOCK],
    ),
    case([SYSTEM, ASK, TEXT_CALL, result(["a", 1], 3), ANSWER, TURNS[2]], True, tools=[WEATHER]),
    case([ASK, BARE_CALL, result("dry", 4), ANSWER], tools=[WEATHER["function"]]),
    case([SYSTEM, IMAGE, PARTS, TURNS[2]], True),
    case([TURNS[0], THOUGHT, TURNS[2], THOUGHT_INSIDE]),
    case([TURNS[0], THOUGHT, TURNS[2]], True, enable_thinking=False, reasoning_effort="low"),
    case([TURNS[0], {"role": "assistant", "content": ""}, TURNS[2], ANSWER], enable_thinking=True),
    case([{"role": "user", "content": ""}, {"role": "assistant", "content": None}]),
    case([TURNS[2]], True, documents=DOCUMENTS),
    case([{"role": "developer", "content": "Be kind."}, TURNS[2], ANSWER, TURNS[0]], True),
    case([ANSWER, TURNS[0]]),  # refused by templates that want a user first
    case([{"role": "user", "content": "👩‍👩‍👧 日本語\tعربي\u200b"}], True),
    case([{"role": "user", "content": "```c\nint x = 1 < 2 && '\"';\\n\n```\r\n"}, ANSWER], True),
    case([{"role": "user", "content": " \n "}, {"role": "assistant", "content": "\n\n"}, TURNS[0]]),
    case([TURNS[0], ANSWER, TURNS[2], THOUGHT_INSIDE, TURNS[0], ANSWER]),
    case([{"role": "user", "content": "<|im_end|></s>[INST]{% if %}{{ x }}"}, ANSWER], True),
    case([TURNS[2], {"role": "assistant", "content": "The beginning of an"}]),
    case([TURNS[0]], True, enable_thinking=True, date_string="1 Jan 2025"),
]


def instead_of_null(name):
    """What the template of that name is given in place of variables that are null."""
    # Without tools another template is taken.
    return {"tools": [CLOCK]} if "tool_use" in name else {}


def variables_of(case, name=""):
    """What transformers gives the template of that name beside the messages."""
    variables = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "tools": None,
        "documents": None,
        # What some templates want to be given by whoever renders them.
        "functions": "[]",
        "datetime": "2024-07-26",
        **case["variables"],
    }
    for key, value in instead_of_null(name).items():
        if variables[key] is None:
            variables[key] = value
    return variables


class FixedDate(datetime.datetime):
    """datetime.datetime whose present is NOW."""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, tz or datetime.timezone.utc).replace(tzinfo=tz)


def compile_template(source):
    """A template as transformers compiles it, at NOW."""
    from transformers.utils import chat_template_utils

    chat_template_utils.datetime = FixedDate
    return chat_template_utils._compile_jinja_template(source)


def render(template, messages, variables):
    """{"text", "generation"} with byte offsets, or {"error", "kind"} where Jinja2 raises."""
    blocks, ranges = [], []
    try:
        with template.environment.activate_tracker(blocks, ranges):
            for block in template.generate(messages=messages, **variables):
                blocks.append(block)
        text = "".join(blocks)
        text.encode("utf-8")
    except Exception as error:  # whatever Jinja2 or the template raises is the expectation
        return {"error": str(error), "kind": type(error).__name__}
    offset = lambda index: len(text[:index].encode("utf-8"))
    return {"text": text, "generation": [[offset(begin), offset(end)] for begin, end in ranges]}
