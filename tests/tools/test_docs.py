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
FLAG = re.compile(r"--[a-z][a-z0-9-]*")
# Files of the project in `code`, and of links [text](file).
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*\w)`|\]\((?!http)([^)#\s]+)\)")
NOT_IN_THE_TREE = ("build/", "checkpoints/", "my-adapter/")


def graft(*words):
    done = subprocess.run([sys.argv[1], *words], capture_output=True, text=True, check=True)
    return done.stdout


def verbs():
    lines = graft("--help").split("Verbs\n")[1].split("\n\n")[0].splitlines()
    return [line.split()[0] for line in lines]


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


class Command(unittest.TestCase):
    """docs/command.md has a section "## graft VERB" for each verb."""

    def setUp(self):
        text = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
        parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
        self.sections = dict(zip(parts[1::2], parts[2::2]))

    def test_every_verb_has_its_section(self):
        documented = [title.split()[1] for title in self.sections if title.startswith("graft ")]
        self.assertEqual(documented, verbs())

    def test_every_flag_of_a_verb_is_described_and_no_other(self):
        shared = set(FLAG.findall(self.sections["The model"]))
        for title, section in self.sections.items():
            if not title.startswith("graft "):
                continue
            with self.subTest(title):
                real = set(FLAG.findall(graft(title.split()[1], "--help"))) - {"--help"}
                described = set(FLAG.findall(section))
                self.assertEqual(real - shared - described, set(), "flags without a description")
                self.assertEqual(described - real, set(), "flags that do not exist")

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
