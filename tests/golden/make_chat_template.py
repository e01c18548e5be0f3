"""Chat templates rendered by Jinja2 with transformers' settings: chat_templates.json.

The templates themselves are not stored: they are read from the shared data, GGUF files included (and
SmolLM2's from its own), and named by file and SHA-256; of what they render, the size and a hash are kept. A
template that raises for a conversation is recorded with the error instead.
"""

import hashlib
import json

import chat_cases
import chat_snippets
import recording
from gguf import GGUFReader


def fnv1a(data):
    """The 64 bit FNV-1a hash, as hexadecimal digits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def rendered(source, messages, variables):
    try:
        template = chat_cases.compile_template(source)
    except Exception as error:  # a template that is broken
        return {"error": str(error), "kind": type(error).__name__}
    return chat_cases.render(template, messages, variables)


def hashed_render(name, source, case):
    variables = chat_cases.variables_of(case, name)
    render = rendered(source, case["messages"], variables)
    if "error" not in render:
        data = render.pop("text").encode("utf-8")
        render.update(bytes=len(data), fnv1a=fnv1a(data))
    return render


def published(arguments):
    """Names and sources of the templates in the shared data and of SmolLM2's GGUF file."""
    folder = arguments.data / "tokenizers"
    for path in sorted((folder / "llama.cpp-models" / "templates").glob("*.jinja")):
        yield str(path.relative_to(arguments.data)), path.read_bytes().decode("utf-8")
    for path in sorted(folder.glob("*/tokenizer_config.json")):
        template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        if isinstance(template, str):
            yield str(path.relative_to(arguments.data)), template
    for path in sorted((folder / "llama.cpp-models").glob("*.gguf")):
        field = GGUFReader(path).get_field("tokenizer.chat_template")
        if field is not None:
            yield str(path.relative_to(arguments.data)), field.contents()
    field = GGUFReader(arguments.model_file).get_field("tokenizer.chat_template")
    yield "smollm2.gguf", field.contents()


def main():
    arguments = recording.start(__doc__, reads=("data", "model_file"))
    conversation = chat_cases.CASES[4]["messages"]
    record = {
        "versions": recording.versions("jinja2", "transformers"),
        "now": chat_cases.NOW,
        "cases": [
            {**case, "variables": chat_cases.variables_of(case)} for case in chat_cases.CASES
        ],
        "conversation": conversation,
        "variables": chat_snippets.VARIABLES,
        "snippets": [
            {"source": source, **rendered(source, conversation, chat_snippets.VARIABLES)}
            for source in chat_snippets.SNIPPETS
        ],
        "templates": [
            {
                "name": name,
                "sha256": hashlib.sha256(source.encode("utf-8")).hexdigest(),
                "renders": [hashed_render(name, source, case) for case in chat_cases.CASES],
                # What they are given in place of a variable that is null.
                "instead_of_null": chat_cases.instead_of_null(name),
            }
            for name, source in published(arguments)
        ],
    }
    recording.write_json("chat_templates.json", record)


if __name__ == "__main__":
    main()
