#!/usr/bin/env python3
"""Runs the system tests: all of test_*.py, or those named (`test_append`, `test_append.AppendTest`, …), or
`--part 1/2`: every second class, so that two runs beside each other do all. Ends with unittest's summary and one
line of counts."""

import os
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def end_on_sigterm():
    """As an exception, so that clusters are stopped on the way out."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def classes_of(suite):
    """The suites of single classes, in order."""
    parts = list(suite)
    if any(isinstance(part, unittest.TestCase) for part in parts):
        yield suite
        return
    for part in parts:
        yield from classes_of(part)


def part_of(text):
    number, parts = (int(one) for one in text.split("/"))
    everything = classes_of(unittest.defaultTestLoader.discover(HERE, pattern="test_*.py"))
    chosen = [one for place, one in enumerate(everything) if place % parts == number - 1]
    return unittest.TestSuite(chosen)


def main():
    end_on_sigterm()
    names = sys.argv[1:]
    if names[:1] == ["--part"]:
        suite = part_of(names[1])
    elif names:
        suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    else:
        suite = unittest.defaultTestLoader.discover(HERE, pattern="test_*.py")
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    # A test with several failed parts is in there once for each of them.
    failed = {getattr(test, "test_case", test) for test, _ in result.failures + result.errors}
    passed = result.testsRun - len(failed) - len(result.skipped)
    print(f"system: {passed} passed, {len(failed)} failed, {len(result.skipped)} skipped")
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
