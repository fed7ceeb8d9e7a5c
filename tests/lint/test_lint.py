#!/usr/bin/env python3
"""The lint finds each kind of fault where it is, and nothing in clean code."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lint  # noqa: E402

CLEAN = {
    "base/a.h": "#ifndef A\n#define A\nint a(void);\n#endif\n",
    "base/a.c": '#include "base/a.h"\n\nint a(void)\n{\n\treturn 1;\n}\n',
    "storage/kv_lmdb.c": '#include "base/a.h"\n\n#include <lmdb.h>\n',
    "raft/guard.c": "#include <raft.h>\n#include <raft/uv.h>\n#include <uv.h>\n",
    "node/loop.c": '#include "base/a.h"\n#include "raft/guard.h"\n\n#include <uv.h>\n',
    "raft/guard.h": "int g(void);\n",
    "storage/kv.h": "int k(void);\n",
    "client/c.h": "int c(void);\n",
    "run.sh": "#!/bin/sh\necho \"$1\"\n",
}


class LintTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        os.makedirs(os.path.dirname(os.path.join(self.root, path)) or ".", exist_ok=True)
        with open(os.path.join(self.root, path), "w", encoding="utf-8") as file:
            file.write(text)

    def found(self, *rules):
        paths = lint.tracked_files(self.root)
        findings = lint.lint(self.root, paths, rules or list(lint.CHECKS))
        return [(path, line, rule) for path, line, rule, _ in findings]

    def test_nothing_is_found_in_clean_code(self):
        self.assertEqual(self.found(*[rule for rule in lint.CHECKS if rule != "format"]), [])

    def test_includes_against_the_direction_are_found(self):
        cases = [
            ("base/b.c", '#include "storage/kv.h"\n'),
            ("storage/b.c", '#include "raft/guard.h"\n'),
            ("raft/b.c", '#include "client/c.h"\n'),
            ("client/b.c", '#include "storage/kv.h"\n'),
            ("tests/unit/base/test_b.c", '#include "storage/kv.h"\n'),
            ("storage/b.c", "#include <lmdb.h>\n"),
            ("tests/sim/b.c", "#include <lmdb.h>\n"),
            ("node/b.c", "#include <raft.h>\n"),
            ("node/b.c", "#include <raft/uv.h>\n"),
            ("storage/b.c", "#include <uv.h>\n"),
            ("node/session_read.c", "#include <uv.h>\n"),
            ("node/session.h", "#include <uv.h>\n"),
            ("node/b.c", '#include "b.h"\n'),
        ]
        for path, text in cases:
            with self.subTest(path=path, text=text):
                self.write(path, "\n" + text)
                self.assertEqual(self.found("includes"), [(path, 2, "includes")])
                os.unlink(os.path.join(self.root, path))

    def test_includes_along_the_direction_are_not_found(self):
        self.write("tests/sim/s.c", "#include <raft.h>\n")
        self.write("tests/unit/node/test_n.c", '#include "client/c.h"\n#include "base/a.h"\n')
        self.assertEqual(self.found("includes"), [])

    def test_function_over_the_limit_is_found_at_its_name(self):
        body = "\tcall(\"}\", '{'); /* } */ // }\n" * 68
        self.write("base/f.c", f"struct s {{\n\tint a;\n}};\n\nstatic int\nf(int a,\n\tint b)\n{{\n{body}}}\n")
        self.assertEqual(self.found("function-length"), [("base/f.c", 6, "function-length")])

    def test_function_at_the_limit_is_not_found(self):
        body = "\tcall();\n" * 67
        self.write("base/f.c", f"int f(void)\n{{\n{body}}}\nint g(void)\n{{\n{body}}}\n")
        self.assertEqual(self.found("function-length"), [])

    def test_branches_of_the_preprocessor_do_not_unbalance_braces(self):
        head = "#ifdef X\nint f(int a)\n{\n#else\nint f(void)\n{\n#endif\n"
        self.write("base/f.c", head + "\treturn 1;\n}\n" + "int x;\n" * 80)
        self.assertEqual(self.found("function-length"), [])
        names = [name for name, _, _ in lint.functions(head + "}\nint g(void)\n{\n}\n")]
        self.assertEqual(names, ["f", "g"])

    def test_long_file_is_found(self):
        self.write("base/l.c", "int x;\n" * 801)
        self.assertEqual(self.found("file-length"), [("base/l.c", 801, "file-length")])
        self.write("base/l.c", "int x;\n" * 800)
        self.assertEqual(self.found("file-length"), [])

    def test_unfinished_work_is_found(self):
        for word in ("TO" + "DO", "FIX" + "ME"):
            self.write("base/w.c", f"int x;\n/* {word}: later */\n")
            self.assertEqual(self.found("words"), [("base/w.c", 2, "words")])

    @unittest.skipUnless(lint.shutil.which("clang-format-14"), "clang-format-14 is not installed")
    def test_badly_formatted_code_is_found(self):
        self.write(".clang-format", "BasedOnStyle: LLVM\n")
        self.write("base/a.c", "int a(void) { return 1; }\n\nint    b;\n")
        paths = ["base/a.c"]
        found = [f[:3] for f in lint.lint(self.root, paths, ["format"])]
        self.assertEqual(found, [("base/a.c", 3, "format")])

    @unittest.skipUnless(lint.shutil.which("shellcheck"), "shellcheck is not installed")
    def test_faulty_shell_is_found(self):
        self.write("tool", "#!/bin/sh\nrm $1\n")
        self.assertEqual(self.found("shell"), [("tool", 2, "shell")])


if __name__ == "__main__":
    unittest.main()
