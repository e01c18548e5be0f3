"""The main of the tests written in Python: unittest, plus the line that tools/test adds up.

    if __name__ == "__main__":
        unittest_main.main()
"""

import sys
import unittest


class _Result(unittest.TextTestResult):
    """unittest counts what ran, failed and was skipped, but not what passed."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main(label="graft-test"):
    """Runs the tests of the main module and prints "<label>: P passed, F failed, S skipped"."""
    result = unittest.main(
        module="__main__",
        argv=sys.argv[:1],
        exit=False,
        testRunner=unittest.TextTestRunner(stream=sys.stdout, resultclass=_Result),
    ).result
    for test, reason in result.skipped:
        print(f"[skip] {test.id()}: {reason}")
    failed = len(result.failures) + len(result.errors)
    print(f"{label}: {result.passed} passed, {failed} failed, {len(result.skipped)} skipped")
    sys.exit(1 if failed else 0)
