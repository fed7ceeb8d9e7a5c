"""The pages that are made from tables in the code say what the code says."""

import os
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


if __name__ == "__main__":
    unittest.main()
