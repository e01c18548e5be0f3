"""tools/check_sizes: the tree passes, and each planted fault turns it red."""

import importlib.machinery
import importlib.util
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import unittest_main  # noqa: E402

TOOL = ROOT / "tools" / "check_sizes"
LOADER = "io/gguf_parse.cpp"


def load_tool():
    """tools/check_sizes as a module; its name has no .py."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("check_sizes", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_sizes", loader))
    loader.exec_module(module)
    return module


def check(root):
    """(exit code, output) of check_sizes on a tree."""
    done = subprocess.run([TOOL, root], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class CheckSizes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        for name in load_tool().SIZED:
            self.plant(name, "const auto sum = checked_add(a, b);")

    def plant(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")

    def expect_fault(self, code, *parts, name=LOADER):
        self.plant(name, code)
        exit_code, output = check(self.tree)
        self.assertEqual(exit_code, 1, code)
        for part in (name, *parts):
            self.assertIn(part, output)

    def expect_pass(self, code, name=LOADER):
        self.plant(name, code)
        exit_code, output = check(self.tree)
        self.assertEqual(exit_code, 0, output)

    def test_the_tree_of_this_project_passes(self):
        code, output = check(ROOT)
        self.assertEqual(code, 0, output)

    def test_a_clean_tree_passes(self):
        self.assertEqual(check(self.tree)[0], 0)

    def test_raw_arithmetic_is_a_fault(self):
        for code in (
            "const uint64_t nbytes = count * size;",
            "end = begin + length;",
            "left = size - at;",
            "value |= byte << shift;",
            "at += length;",
            "total *= dim;",
            "x = 8 * count;",
            "next = count * 8;",
            "for (int i = 0; i < 9; ++i) sum += f(i);",
        ):
            with self.subTest(code):
                self.expect_fault(f"\n{code}", f"{LOADER}:2", "may wrap", code)

    def test_the_reason_why_it_fits_is_on_the_line_or_above(self):
        self.expect_pass("at_ += count;  // fits: so much remains")
        self.expect_pass("// fits: so much remains\nat_ += count;")
        self.expect_fault("// fits: so much remains\n\nat_ += count;")
        self.expect_fault("at_ += count;  // fits:")
        self.expect_fault('fail("// fits: no reason");\nat_ += count;')

    def test_what_cannot_wrap_needs_no_reason(self):
        for code in (
            "constexpr uint64_t least = 8 + 1 + 4 + 1;",
            "constexpr int64_t limit = int64_t{64} << 20;",
            'text = name + " of " + other;',
            "const double x = static_cast<double>(a) * 2;",
            "const std::byte* data = *found;",
            "f(-1, *x, &y, a->b);",
            'fail("a + b * c");',
            "// a + b",
            "char c = '+';",
        ):
            with self.subTest(code):
                self.expect_pass(code)

    def test_files_that_read_no_sizes_may_do_as_they_like(self):
        self.expect_pass("a = b * c;", name="nn/linear.cpp")

    def test_assert_is_refused_in_all_of_the_library(self):
        self.expect_fault("#include <cassert>", "assert checks nothing", name="nn/linear.cpp")
        self.plant("nn/linear.cpp", "static_assert(sizeof(int) == 4);")
        self.expect_fault("  assert(rank <= 4);", "assert checks nothing")

    def test_a_loader_that_is_gone_is_a_fault(self):
        (self.tree / LOADER).unlink()
        code, output = check(self.tree)
        self.assertEqual(code, 1)
        self.assertIn(f"{LOADER}:1: no such file", output)


if __name__ == "__main__":
    unittest_main.main()
