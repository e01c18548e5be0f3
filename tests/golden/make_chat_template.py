"""Chat templates rendered by Jinja2 with transformers' settings: chat_templates.json.

The templates themselves are not stored: they are read from the shared data (and SmolLM2's from its
GGUF file) and named by file and SHA-256. A template that raises for a conversation is recorded with
an error instead of a text.
"""

import hashlib
import json

import recording
from transformers.utils.chat_template_utils import _compile_jinja_template

SYSTEM = {"role": "system", "content": "You are terse.\nAnd exact."}
TURNS = [
    {"role": "user", "content": " How far is the moon? "},
    {"role": "assistant", "content": "384,400 km.\n"},
    {"role": "user", "content": "In \"miles\", {{ not a tag }} — größer?"},
]
ANSWER = {"role": "assistant", "content": "238,855 miles."}
CONVERSATIONS = [
    TURNS[:1],
    [*TURNS, ANSWER],
    [SYSTEM, *TURNS],
    [SYSTEM, *TURNS, ANSWER],
]
# For the exactness of the language itself, beyond what the published templates use.
SNIPPETS = [
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for m in messages -%}\n  {{ m.role }}\n{%- endfor %}\n",
    "  {% if true %}\n  a\n  {% endif %}  \n b",
    "a {#- note -#} b\n{# line #}\nc",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 1 + 2 * 3 }} {{ 2 - -1 }}",
    "{{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ 1 < 2 < 3 }} {{ 'el' in 'hello' }} {{ 3 not in [1, 2] }}",
    "{{ [1, 'a', none, true, 1.5, {'k': [2]}] }}",
    "{{ {'a': 1, 'b': [true, none, 'ü\"']} | tojson }}",
    "{{ {'a': 1, 'b': []} | tojson(indent=2) }}",
    "{{ missing }}|{{ missing | default('d') }}|{{ missing is defined }}|{{ '' | default('e', true) }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' x  y '.split() }} {{ 'a b c'.split(' ', 1) }}",
    "{{ '  pad '.strip() ~ '|' ~ 'xxaxx'.strip('x') ~ '|' ~ ' l'.lstrip() ~ '|' ~ 'r '.rstrip() }}",
    "{{ messages[-1].content[:5] }}|{{ messages[0]['content'][::-1] }}|{{ [1,2,3,4][1:3] }}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "{% set x = 1 %}{% for m in messages %}{% set x = 2 %}{% endfor %}{{ x }}",
    "{% set block %}in {{ 1 + 1 }}{% endset %}[{{ block | upper }}]",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2} | items %}{{ k }}{{ v }}{% else %}none{% endfor %}{% for k in {} %}{% else %}none{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ m.content | trim }}{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{{ messages | map(attribute='role') | join(', ') }} {{ ['b', 'a'] | join }} {{ messages | length }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | rejectattr('role', 'eq', 'user') | list | length }}",
    "{{ 'ab' | first }}{{ [1, 2] | last }}{{ 'abc' | reverse }}{{ 'a b' | title }}{{ 'aB' | capitalize }}",
    "{{ 'x' if false }}|{{ 'x' if false else 'y' if true else 'z' }}|{{ not false and true }}",
    "{{ 4 is divisibleby 2 }} {{ 3 is odd }} {{ 'a' is string }} {{ messages is iterable }} {{ none is none }} {{ {} is mapping }}",
    "{{ 'abc'.replace('b', 'xx') }} {{ 'aaa' | replace('a', 'b', 2) }} {{ 'abc'.startswith('ab') }} {{ 'abc'.endswith('x') }} {{ 'abc'.find('c') }}",
    "{{ '3' | int + 1 }} {{ 'x' | int(7) }} {{ 1.0 }} {{ 1e20 if false else 0.1 }} {{ 12345678.9 }} {{ true + 1 }}",
    "{% generation %}x{% endgeneration %}y",
    "{{- ' a' }} \n {{ 'b' -}} \n c",
    "{%+ if true %} kept {%+ endif %}\n",
]


class Renderer:
    """One template, rendered as transformers would."""

    def __init__(self, source, **variables):
        self.template = _compile_jinja_template(source)
        self.variables = variables

    def __call__(self, messages, add_generation_prompt):
        try:
            return {
                "text": self.template.render(
                    messages=messages,
                    add_generation_prompt=add_generation_prompt,
                    **self.variables,
                )
            }
        except Exception as error:  # whatever Jinja2 or the template raises is the expectation
            return {"error": str(error)}


def published(arguments):
    """Names and sources of the templates in the shared data and of SmolLM2's GGUF file."""
    folder = arguments.data / "tokenizers"
    for path in sorted((folder / "llama.cpp-models" / "templates").glob("*.jinja")):
        yield str(path.relative_to(arguments.data)), path.read_text(encoding="utf-8")
    for path in sorted(folder.glob("*/tokenizer_config.json")):
        template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        if isinstance(template, str):
            yield str(path.relative_to(arguments.data)), template
    if arguments.model_file:
        from gguf import GGUFReader

        field = GGUFReader(arguments.model_file).get_field("tokenizer.chat_template")
        yield "smollm2.gguf", bytes(field.parts[field.data[0]]).decode("utf-8")


def main():
    arguments = recording.start(__doc__)
    record = {
        "versions": recording.versions("jinja2", "transformers"),
        # date_string: some templates print today's date where it is not given.
        "variables": {"bos_token": "<s>", "eos_token": "</s>", "date_string": "26 Jul 2024"},
        "conversations": CONVERSATIONS,
        "snippets": [],
        "templates": [],
    }
    for source in SNIPPETS:
        render = Renderer(source)
        record["snippets"].append({"source": source, **render(CONVERSATIONS[3], False)})
    for name, source in published(arguments):
        render = Renderer(source, **record["variables"])
        record["templates"].append(
            {
                "name": name,
                "sha256": hashlib.sha256(source.encode("utf-8")).hexdigest(),
                "renders": [
                    {"conversation": i, "add_generation_prompt": prompt, **render(messages, prompt)}
                    for i, messages in enumerate(CONVERSATIONS)
                    for prompt in (False, True)
                ],
            }
        )
    recording.write_json("chat_templates.json", record)


if __name__ == "__main__":
    main()
