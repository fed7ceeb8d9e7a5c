"""Stacks out of `perf script`: who ran, and the frames from the outermost to the innermost.

A frame is a name. Where a library has no symbol for it, the name is the library and the begin of the
function, as the unwind table of the library has it: `libraft+0x5b80`.
"""

import bisect
import collections
import re
import subprocess

MAPPING = re.compile(r"PERF_RECORD_MMAP2? \d+/\d+: \[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (0x[0-9a-f]+|0) .*?: r-xp (/\S+)")
SAMPLE = re.compile(r"^\s*(\S.*?)\s+(\d+)/(\d+)\s*$")
FRAME = re.compile(r"^\s+([0-9a-f]+) (.*) \((.*)\)$")
FUNCTION = re.compile(r" FDE .* pc=([0-9a-f]+)\.\.([0-9a-f]+)$")
INLINED = " (inlined)"

Sample = collections.namedtuple("Sample", "process thread name frames")


class Library:
    """Where the functions of a library begin, symbols or not."""

    def __init__(self, path):
        self.name = path.rsplit("/", 1)[-1].split(".so")[0]
        text = subprocess.run(["readelf", "--debug-dump=frames", path], capture_output=True, text=True, check=False).stdout
        found = (FUNCTION.search(line) for line in text.splitlines())
        self.begins = sorted(int(match[1], 16) for match in found if match)

    def name_of(self, offset):
        place = bisect.bisect_right(self.begins, offset)
        return f"{self.name}+0x{self.begins[place - 1]:x}" if place else f"{self.name}+?"


class Names:
    """What is known of addresses without a symbol."""

    def __init__(self):
        self.libraries = {}
        self.mappings = {}  # path: (begin, end, offset); libraries lie elsewhere in each process

    def map(self, begin, size, offset, path):
        self.mappings.setdefault(path, []).append((begin, begin + size, offset))

    def name(self, address, symbol, path):
        if symbol != "[unknown]":
            symbol = symbol[:-len(INLINED)] if symbol.endswith(INLINED) else symbol
            return re.sub(r"\+0x[0-9a-f]+$", "", symbol).split(".")[0]
        if not path.startswith("/"):
            return path
        if path not in self.libraries:
            self.libraries[path] = Library(path)
        for begin, end, offset in self.mappings.get(path, ()):
            if begin <= address < end:
                address += offset - begin
                break
        return self.libraries[path].name_of(address)  # perf gives some within the library already


def read(path):
    """All samples of a file of `perf record`."""
    command = ["perf", "script", "--input", path, "--show-mmap-events", "--fields", "comm,pid,tid,ip,sym,dso"]
    names, samples, frames, who = Names(), [], [], None
    text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    for line in text.splitlines() + [""]:
        mapped, framed = MAPPING.search(line), FRAME.match(line)
        if mapped:
            names.map(int(mapped[1], 16), int(mapped[2], 16), int(mapped[3], 16), mapped[4])
        elif framed and who:
            frames.append(names.name(int(framed[1], 16), framed[2], framed[3]))
        elif not line.strip():
            if who and frames:
                samples.append(Sample(int(who[2]), int(who[3]), who[1], tuple(reversed(frames))))
            who, frames = None, []
        else:
            who = SAMPLE.match(line)
    return samples
