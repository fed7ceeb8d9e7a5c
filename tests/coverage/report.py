#!/usr/bin/env python3
"""Which lines and branches of annal the tests took: gcovr's counts, by folder and by file.

usage: report.py BUILD [--write DOCUMENT]
       BUILD is the folder of the objects and their counters. Writes BUILD/index.html (line by line) and
       BUILD/summary.json, prints a table in Markdown. --write puts the table of folders into DOCUMENT, between
       the lines <!-- coverage --> and <!-- end of coverage -->.
Exit codes: 0, 1 a folder has less than it should, 2 nothing was counted or gcovr failed.

Left out is one thing: the branch "the invariant is broken" of an ASSERT.
"""

import argparse
import json
import subprocess
import sys

FOLDERS = ("base", "storage", "raft", "node", "client")
# Branches that must be taken, percent.
LEAST = {"base": 90.0, "storage": 90.0, "raft": 90.0}
INVARIANT = r"^\s*ASSERT\("
BEGIN, END = "<!-- coverage -->\n", "<!-- end of coverage -->\n"


def count(build):
    """gcovr's summary: a list of files with what they have and what was taken."""
    command = ["gcovr", "--root", ".", "--object-directory", build]
    for folder in FOLDERS:
        command += ["--filter", folder + "/"]
    command += ["--exclude-branches-by-pattern", INVARIANT, "--sort-percentage"]
    command += ["--json-summary", f"{build}/summary.json", "--json-summary-pretty"]
    command += ["--html-details", f"{build}/index.html", "--html-title", "annal: what the tests take", build]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemError(f"gcovr ended with {done.returncode}:\n{done.stderr}")
    with open(f"{build}/summary.json", encoding="utf-8") as file:
        return json.load(file)["files"]


class Share:
    """So many of so many, for the lines or the branches of a file or folder."""

    def __init__(self, taken, total):
        self.taken, self.total = taken, total

    def __add__(self, other):
        return Share(self.taken + other.taken, self.total + other.total)

    def percent(self):
        return 100.0 * self.taken / self.total if self.total else 100.0

    def __str__(self):
        return f"{self.taken} of {self.total} | {self.percent():.1f} %"


def shares(files):
    """Path -> (lines, branches), and the same of each folder."""
    by_file, by_folder = {}, {folder: (Share(0, 0), Share(0, 0)) for folder in FOLDERS}
    for one in files:
        path = one["filename"]
        by_file[path] = (
            Share(one["line_covered"], one["line_total"]),
            Share(one["branch_covered"], one["branch_total"]),
        )
        folder = path.split("/")[0]
        by_folder[folder] = tuple(sum_ + part for sum_, part in zip(by_folder[folder], by_file[path]))
    return by_file, by_folder


def table(title, rows):
    lines = [f"| {title} | lines | | branches | | at least |", "|---|---|---|---|---|---|"]
    for name, (of_lines, of_branches) in rows.items():
        least = f"{LEAST[name]:.0f} %" if name in LEAST else ""
        lines.append(f"| `{name}` | {of_lines} | {of_branches} | {least} |")
    return "\n".join(lines) + "\n"


def write_into(document, text):
    with open(document, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(document, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + text + END + after)


def main():
    parser = argparse.ArgumentParser(description="what the tests take of annal's branches")
    parser.add_argument("build")
    parser.add_argument("--write", metavar="DOCUMENT")
    arguments = parser.parse_args()
    try:
        by_file, by_folder = shares(count(arguments.build))
    except (OSError, SystemError) as problem:
        print(problem, file=sys.stderr)
        return 2
    folders = table("folder", by_folder)
    print(table("file", dict(sorted(by_file.items()))) + "\n" + folders)
    print(f"line by line: {arguments.build}/index.html")
    if arguments.write:
        write_into(arguments.write, folders)
    status = 0
    for folder, least in LEAST.items():
        _, branches = by_folder[folder]
        if branches.total == 0:
            print(f"{folder}/: nothing was counted; was it built with FLAVOUR=cov?", file=sys.stderr)
            return 2
        if branches.percent() < least:
            print(f"{folder}/: the tests take {branches.percent():.1f} % of the branches, "
                  f"less than {least:.0f} %", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
