#!/usr/bin/env python3
"""The project's own lint: prints `file:line: rule: what is wrong` and exits 1 when there is any.

Rules: includes (who may include whom), function-length, file-length, words, format (clang-format),
shell (shellcheck). Usage: lint.py [--root DIR] [--only RULE]... [FILE]...
Without files it looks at every file that git tracks.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800

# Layer -> the layers whose headers it may include.
MAY_INCLUDE = {
    "base": {"base"},
    "storage": {"base", "storage"},
    "raft": {"base", "storage", "raft"},
    "client": {"base", "client"},
    "node": {"base", "storage", "raft", "node", "client"},
}
# Header of a library -> (who may include it, in words; the test of a path).
CONFINED = {
    "lz4.h": ("storage/pack.c", lambda path: path == "storage/pack.c"),
    "lmdb.h": (
        "storage/kv_lmdb.c and its test",
        lambda path: path in ("storage/kv_lmdb.c", "tests/unit/storage/test_kv_lmdb_calls.c"),
    ),
    "raft.h": ("raft/ and tests/sim/", lambda path: path.startswith(("raft/", "tests/sim/"))),
    "uv.h": (
        "anything but storage/ and the session of node/",
        lambda path: not re.match(r"storage/|node/session[^/]*$", path),
    ),
}
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
TEXT_SUFFIXES = (".c", ".h", ".py", ".sh", ".md", ".mk", ".yml", ".yaml", ".conf", ".service")


class Source:
    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.lines = self.text.split("\n")
        if self.lines and self.lines[-1] == "":
            self.lines.pop()

    def is_c(self):
        return self.path.endswith((".c", ".h"))

    def is_shell(self):
        first = self.lines[0] if self.lines else ""
        return self.path.endswith(".sh") or re.match(r"#!.*\b(ba|da)?sh\b", first) is not None


# ---- includes ----


def layers_open_to(path):
    """The layers that a file may include from; None when it may include from all."""
    parts = path.split("/")
    if parts[:2] == ["tests", "unit"] and len(parts) > 3:
        return MAY_INCLUDE.get(parts[2])
    return MAY_INCLUDE.get(parts[0])


def library_of(bracket, header):
    """libraft also ships <raft/uv.h>, <raft/fixture.h>."""
    if bracket == "<" and header.startswith("raft/"):
        return "raft.h"
    return header


def check_includes(root, source):
    if not source.is_c():
        return
    allowed = layers_open_to(source.path)
    for number, line in enumerate(source.lines, 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        bracket, header = match.groups()
        library = library_of(bracket, header)
        if library in CONFINED and not CONFINED[library][1](source.path):
            yield number, "includes", f"<{header}> belongs to {CONFINED[library][0]} alone"
        if bracket == "<":
            continue
        layer = header.split("/")[0]
        if not os.path.isfile(os.path.join(root, header)):
            yield number, "includes", f'"{header}" is no path from the root of the project'
        elif allowed is not None and layer in MAY_INCLUDE and layer not in allowed:
            yield (
                number,
                "includes",
                f'"{header}": {source.path.rsplit("/", 1)[0]}/ may include from '
                f'{", ".join(sorted(allowed))} only',
            )


# ---- function length ----

TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)


def blank(match):
    """Spaces of the same shape, so that lines and columns stay where they are."""
    return re.sub(r"[^\n]", " ", match.group(0))


def without_directives(text):
    """Blank out preprocessor lines, and all but the first branch of each conditional: the braces of
    two branches together need not balance."""
    kept, branches, continued = [], [], False
    for line in text.split("\n"):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if continued or directive:
            if directive and not continued:
                word = directive.group(1)
                if word in ("if", "ifdef", "ifndef"):
                    branches.append(False)
                elif word in ("else", "elif") and branches:
                    branches[-1] = True
                elif word == "endif" and branches:
                    branches.pop()
            continued = line.endswith("\\")
            kept.append("")
        else:
            kept.append("" if any(branches) else line)
    return "\n".join(kept)


def functions(text):
    """(name, first line, last line) of every function defined in C source."""
    text = without_directives(TOKEN.sub(blank, text))
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", blank, text)
    depth, declaration, body = 0, 0, None
    for match in re.finditer(r"[{};]", text):
        mark, at = match.group(0), match.start()
        if mark == "{":
            if depth == 0:
                body = name_of_function(text, declaration, at)
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                if body:
                    yield body[0], body[1], text.count("\n", 0, at) + 1
                declaration, body = at + 1, None
        elif depth == 0:
            declaration = at + 1


def name_of_function(text, begin, end):
    """(name, line) when text[begin:end], which precedes a brace at the top level, is the head of a
    function; else None (a struct, an enum, an initialiser)."""
    head = text[begin:end]
    if not head.rstrip().endswith(")") or "=" in head:
        return None
    match = re.search(r"(\w+)\s*\(", head)
    if not match:
        return None
    return match.group(1), text.count("\n", 0, begin + match.start()) + 1


def check_function_length(_root, source):
    if not source.path.endswith((".c", ".h")):
        return
    for name, first, last in functions(source.text):
        if last - first + 1 > FUNCTION_LINES_MAX:
            yield (
                first,
                "function-length",
                f"{name}() has {last - first + 1} lines, at most {FUNCTION_LINES_MAX}",
            )


# ---- files ----


def check_file_length(_root, source):
    if source.path.endswith((".c", ".h", ".py", ".sh")) and len(source.lines) > FILE_LINES_MAX:
        yield (
            FILE_LINES_MAX + 1,
            "file-length",
            f"{len(source.lines)} lines, at most {FILE_LINES_MAX}: split it by subject",
        )


def check_words(_root, source):
    if not (source.path.endswith(TEXT_SUFFIXES) or os.path.basename(source.path) == "Makefile"):
        return
    for number, line in enumerate(source.lines, 1):
        match = UNFINISHED.search(line)
        if match:
            yield number, "words", f"{match.group(0)}: finish it or take it out"


def check_format(root, source):
    if not source.is_c():
        return
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        yield 1, "format", "clang-format-14 is missing: apt-get install clang-format-14"
        return
    done = subprocess.run(
        [tool, "--dry-run", "-Werror", source.path],
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    places = re.findall(r"^[^:\n]+:(\d+):\d+: error: ", done.stderr, re.MULTILINE)
    if places:
        yield (
            int(places[0]),
            "format",
            f"not as clang-format writes it, in {len(places)} places: make format",
        )
    elif done.returncode != 0:
        yield 1, "format", f"{tool} failed: {done.stderr.strip()}"


def check_shell(root, source):
    tool = shutil.which("shellcheck")
    if not tool or not source.is_shell():
        return
    done = subprocess.run(
        [tool, "-x", "-f", "gcc", source.path],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    for line in done.stdout.split("\n"):
        match = re.match(r"[^:]+:(\d+):\d+: (.*)", line)
        if match:
            yield int(match.group(1)), "shell", match.group(2)


CHECKS = {
    "includes": check_includes,
    "function-length": check_function_length,
    "file-length": check_file_length,
    "words": check_words,
    "format": check_format,
    "shell": check_shell,
}


def tracked_files(root):
    done = subprocess.run(
        ["git", "-C", root, "ls-files", "-z"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode == 0:
        names = done.stdout.decode().split("\0")
    else:  # an unpacked archive
        names = [
            os.path.relpath(os.path.join(folder, name), root)
            for folder, _, files in os.walk(root)
            for name in files
        ]
    return sorted(
        name
        for name in names
        if name and not name.startswith("build/") and os.path.isfile(os.path.join(root, name))
    )


def lint(root, paths, rules):
    """Every finding as (path, line, rule, message)."""
    findings = []
    for path in paths:
        source = Source(root, path)
        for rule in rules:
            findings += [(path, *finding) for finding in CHECKS[rule](root, source)]
    return findings


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(here)))
    parser.add_argument("--only", action="append", choices=sorted(CHECKS), metavar="RULE",
                        help="one of " + ", ".join(CHECKS) + "; may be given again")
    parser.add_argument("files", nargs="*", metavar="FILE")
    arguments = parser.parse_args()
    root = os.path.abspath(arguments.root)
    paths = [os.path.relpath(os.path.abspath(path), root) for path in arguments.files]
    paths = paths or tracked_files(root)
    findings = lint(root, paths, arguments.only or list(CHECKS))
    for path, line, rule, message in findings:
        print(f"{path}:{line}: {rule}: {message}")
    if "shell" in (arguments.only or CHECKS) and not shutil.which("shellcheck"):
        print("lint: shellcheck is not installed, shell scripts were not checked", file=sys.stderr)
    print(f"lint: {len(paths)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
