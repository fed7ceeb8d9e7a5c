#!/usr/bin/env python3
"""Runs the system tests: all of test_*.py, or those named (`test_append`, `test_append.AppendTest`, …).
Ends with unittest's summary and one line of counts."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def main():
    names = sys.argv[1:]
    if names:
        suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    else:
        suite = unittest.defaultTestLoader.discover(HERE, pattern="test_*.py")
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed, errors = len(result.failures), len(result.errors)
    passed = result.testsRun - failed - errors - len(result.skipped)
    print(f"system: {passed} passed, {failed} failed, {errors} errors, {len(result.skipped)} skipped")
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
