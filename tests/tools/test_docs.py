"""The documentation says what is there: files, flags, verbs, code.

    test_docs.py GRAFT
"""

import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import unittest_main  # noqa: E402

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
FLAG = re.compile(r"--[a-z][a-z0-9_-]*")
# Files of the project in `code`, and of links [text](file).
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*\w)`|\]\((?!http)([^)#\s]+)\)")
NOT_IN_THE_TREE = ("additional_chat_templates/", "build/", "checkpoints/", "my-adapter/")


def graft(*words):
    done = subprocess.run([sys.argv[1], *words], capture_output=True, text=True, check=True)
    return done.stdout


def verbs():
    lines = graft("--help").split("Verbs\n")[1].split("\n\n")[0].splitlines()
    return [line.split()[0] for line in lines]


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def flags_of(text):
    """Every flag that a text names. Underscores are another spelling of dashes."""
    return {flag.replace("_", "-") for flag in FLAG.findall(text)} - {"--help", "--flag"}


class Command(unittest.TestCase):
    """docs/command.md has a section "## VERB" for each verb, and sections for what they share."""

    def setUp(self):
        self.page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
        parts = re.split(r"^## (.*)$", self.page, flags=re.MULTILINE)
        self.sections = dict(zip(parts[1::2], parts[2::2]))

    def test_every_verb_has_its_section(self):
        self.assertEqual([title for title in self.sections if title in verbs()], verbs())

    def test_every_flag_is_described(self):
        for verb in verbs():
            with self.subTest(verb):
                missing = flags_of(graft(verb, "--help")) - flags_of(self.page)
                self.assertEqual(missing, set(), "flags without a description")

    def test_no_flag_is_described_that_does_not_exist(self):
        everything = set()
        for verb in verbs():
            real = flags_of(graft(verb, "--help"))
            everything |= real
            with self.subTest(verb):
                self.assertEqual(flags_of(self.sections[verb]) - real, set())
        self.assertEqual(flags_of(self.page) - everything, set())

    def test_the_exit_codes_are_those_of_the_source(self):
        source = (ROOT / "cli" / "exit_code.h").read_text(encoding="utf-8")
        real = set(re.findall(r"= (\d+),", source))
        rows = re.findall(r"^\| ([\d, ]+) \|", self.sections["Exit codes"], re.MULTILINE)
        self.assertEqual({code for row in rows for code in row.split(", ")}, real)


class Pages(unittest.TestCase):
    def test_every_file_that_is_named_exists(self):
        for page in PAGES:
            for match in NAMED_FILE.finditer(page.read_text(encoding="utf-8")):
                name = match[1] or match[2]
                if name.startswith(NOT_IN_THE_TREE):
                    continue
                base = ROOT if match[1] else page.parent
                with self.subTest(page=page.name, file=name):
                    self.assertTrue((base / name).exists(), f"{name} does not exist")

    def test_the_code_of_add_an_op_is_that_of_the_tree(self):
        page = ROOT / "docs" / "add_an_op.md"
        names = {match[1] for match in NAMED_FILE.finditer(page.read_text("utf-8")) if match[1]}
        files = [ROOT / name for name in names if name.endswith((".h", ".cpp"))]
        sources = [path.read_text(encoding="utf-8") for path in files]
        for block in code_blocks(page, "cpp"):
            for part in block.strip().split("\n\n"):
                with self.subTest(part.splitlines()[0]):
                    self.assertTrue(any(part in source for source in sources), f"changed:\n{part}")

    def test_every_folder_has_its_paragraph(self):
        text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
        source = (ROOT / "tools" / "check_layers").read_text(encoding="utf-8")
        table = re.search(r"TABLE = {(.*?)}", source, re.DOTALL)[1]
        for folder in re.findall(r'^    "(\w+)":', table, re.MULTILINE):
            if (ROOT / folder).is_dir() and folder not in ("tests", "bench", "examples"):
                self.assertIn(f"\n**{folder}**:", text)


if __name__ == "__main__":
    unittest_main.main()
