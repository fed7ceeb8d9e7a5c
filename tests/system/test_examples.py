"""The example programs do what they show, and the README shows the Python one as it is."""

import os
import subprocess
import sys
import unittest

from case import SharedCase
from cluster import ROOT, program


class ExamplesTest(SharedCase):
    def run_example(self, *command):
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def test_the_python_client_appends_and_reads_back(self):
        node = self.cluster[2]
        path = os.path.join(ROOT, "examples", "client.py")
        done = self.run_example(sys.executable, path, "127.0.0.1", node.address.split(":")[1])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("OrderPlaced", done.stdout)

    def test_the_c_example_does_its_work(self):
        done = self.run_example(program("orders"), self.cluster.url())
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_readme_shows_the_python_client_as_it_is(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
            shown = readme.read().split("```python\n")[1].split("```")[0]
        with open(os.path.join(ROOT, "examples", "client.py"), encoding="utf-8") as example:
            self.assertEqual(shown, example.read())


if __name__ == "__main__":
    unittest.main()
