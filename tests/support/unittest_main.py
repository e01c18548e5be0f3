"""The main of the tests written in Python: unittest, plus the line that tools/test adds up.

    if __name__ == "__main__":
        unittest_main.main()
"""

import sys
import unittest


def main(argv=None):
    """Runs the tests of the main module. `argv` takes unittest's arguments, by default none."""
    program = unittest.main(
        module="__main__", argv=[sys.argv[0], *(argv or [])], exit=False, verbosity=1
    )
    result = program.result
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    for test, reason in result.skipped:
        print(f"[skip] {test.id()}: {reason}")
    passed = result.testsRun - failed - len(result.skipped)
    print(f"graft-test: {passed} passed, {failed} failed, {len(result.skipped)} skipped")
    sys.exit(1 if failed else 0)
