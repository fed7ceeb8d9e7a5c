"""The pages that are made from tables in the code say what the code says."""

import ast
import os
import re
import subprocess
import unittest

from cluster import ROOT, program


class DocsTest(unittest.TestCase):
    def assert_page_shows(self, page, flag):
        printed = subprocess.run([program("annald"), flag], capture_output=True, text=True, timeout=10)
        self.assertEqual(printed.returncode, 0, printed.stderr)
        with open(os.path.join(ROOT, "docs", page), encoding="utf-8") as file:
            self.assertIn(printed.stdout, file.read(), f"make docs/{page} anew with annald {flag}")

    def test_settings(self):
        self.assert_page_shows("settings.md", "--print-settings-markdown")

    def test_stats(self):
        self.assert_page_shows("stats.md", "--print-stats-markdown")

    def tests_there_are(self):
        """test_file, test_file.Class and test_file.Class.test_name of all system tests."""
        folder = os.path.join(ROOT, "tests", "system")
        for name in os.listdir(folder):
            module, ending = os.path.splitext(name)
            if ending != ".py":
                continue
            yield module
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                for part in ast.parse(file.read()).body:
                    if isinstance(part, ast.ClassDef):
                        yield f"{module}.{part.name}"
                        for one in part.body:
                            if isinstance(one, ast.FunctionDef):
                                yield f"{module}.{part.name}.{one.name}"

    def test_tests_that_pages_name_are_there(self):
        there = set(self.tests_there_are())
        with open(os.path.join(ROOT, "docs", "consistency.md"), encoding="utf-8") as file:
            text = file.read()
        named = {name for name in re.findall(r"\btest_\w+(?:\.\w+)*", text) if not name.endswith(".c")}
        files = set(re.findall(r"\btests/[\w/]+(?:\.[a-z]+)?", text))
        self.assertEqual(named - there, set())
        self.assertEqual([path for path in files if not os.path.exists(os.path.join(ROOT, path))], [])


if __name__ == "__main__":
    unittest.main()
