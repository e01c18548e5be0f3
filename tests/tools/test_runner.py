"""tools/test: what counts as passed, failed and skipped."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import unittest_main  # noqa: E402


def load_runner():
    """tools/test as a module; its name has no .py."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("runner", str(ROOT / "tools" / "test"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
    sys.modules["runner"] = module
    loader.exec_module(module)
    return module


runner = load_runner()


class Runner(unittest.TestCase):
    def run_script(self, script, seconds=20):
        """(Count, what was printed) of a shell script run as a test program."""
        printed = io.StringIO()
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
            with contextlib.redirect_stdout(printed):
                count = runner.run_program(
                    name="sample",
                    command=["sh", "-c", script],
                    environment=os.environ,
                    seconds=seconds,
                    log=Path(folder) / "sample.log",
                    label="graft-test",
                )
        return count, printed.getvalue()

    def test_the_counts_of_the_last_line_are_taken(self):
        count, printed = self.run_script("echo 'graft-test: 3 passed, 0 failed, 0 skipped'")
        self.assertEqual(count, runner.Count(3, 0, 0))
        self.assertTrue(printed.startswith("ok "), printed)

    def test_skipped_cases_are_shown_with_their_reason(self):
        script = "echo '[skip] a: no data'; echo 'graft-test: 3 passed, 0 failed, 1 skipped'"
        count, printed = self.run_script(script)
        self.assertEqual(count, runner.Count(3, 0, 1))
        self.assertIn("[skip] a: no data", printed)

    def test_the_output_of_a_failure_is_shown(self):
        script = "echo wrong number; echo 'graft-test: 3 passed, 1 failed, 0 skipped'; exit 1"
        count, printed = self.run_script(script)
        self.assertEqual(count, runner.Count(3, 1, 0))
        self.assertTrue(printed.startswith("FAIL"), printed)
        self.assertIn("wrong number", printed)

    def test_a_crash_is_a_failure_that_names_the_signal(self):
        count, printed = self.run_script("kill -SEGV $$")
        self.assertEqual(count, runner.Count(0, 1, 0))
        self.assertIn("ended by SIGSEGV", printed)

    def test_a_crash_after_the_count_is_a_failure(self):
        count, _ = self.run_script("echo 'graft-test: 3 passed, 0 failed, 0 skipped'; kill -ABRT $$")
        self.assertEqual(count, runner.Count(3, 1, 0))

    def test_a_program_without_a_count_is_a_failure(self):
        count, printed = self.run_script("true")
        self.assertEqual(count, runner.Count(0, 1, 0))
        self.assertIn("no count of its cases", printed)

    def test_an_exit_code_without_a_failed_case_is_a_failure(self):
        count, _ = self.run_script("echo 'graft-test: 3 passed, 0 failed, 0 skipped'; exit 3")
        self.assertEqual(count, runner.Count(3, 1, 0))

    def test_a_program_that_hangs_is_stopped_and_is_a_failure(self):
        count, printed = self.run_script("exec sleep 60", seconds=1)
        self.assertEqual(count, runner.Count(0, 1, 0))
        self.assertIn("stopped after 1 seconds", printed)

    def test_programs_get_no_input(self):
        count, _ = self.run_script("cat; echo 'graft-test: 1 passed, 0 failed, 0 skipped'")
        self.assertEqual(count, runner.Count(1, 0, 0))


if __name__ == "__main__":
    unittest_main.main()
