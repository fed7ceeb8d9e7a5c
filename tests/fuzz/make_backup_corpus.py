#!/usr/bin/env python3
"""Writes the seeds of fuzz_backup_file: small files with every checksum zero (the target mends them), as
docs/format.md tells. A running hash that must be right is only that of an empty file or of holes alone."""
import os
import struct
import subprocess

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "fuzz_backup_file")


def header(position, running_hash, magic=b"ANNALBK1", version=1):
    return magic + struct.pack(
        "<II16sQqQqQQQ", version, 0, b"0123456789abcdef", 1, 1, position, 1, 7, running_hash, 0
    )


def packed(content):
    return subprocess.run(["zstd", "-qc"], input=content, stdout=subprocess.PIPE, check=True).stdout


def frame(number, content, position=1, zstd=None, size=None):
    zstd = packed(content) if zstd is None else zstd
    head = struct.pack(
        "<IIIQQQ", number, len(zstd), len(content) if size is None else size, position, 0, 0
    )
    return b"ANBF" + head + zstd


def trailer(frames, records, holes, content, before, position, running_hash):
    return b"ANBT" + struct.pack(
        "<IQQQQQQQ", frames, records, holes, content, before + 64, position, running_hash, 0
    )


def hole(first, last, before, after):
    return b"\x94" + b"".join(b"\xcf" + struct.pack(">Q", n) for n in (first, last, before, after))


def record(position):
    return (
        b"\x99\xcf" + struct.pack(">Q", position) + (b"\xcf" + bytes(8)) * 2 + b"\xc4\x10" + bytes(16)
        + b"\xa3S-1\xa1t\xc4\x01x\xc4\x00\x91\xa1g"
    )


def whole(contents, records, holes, position, running_hash):
    data, first = header(position, running_hash), 1
    for number, (content, next_first) in enumerate(contents, 1):
        data += frame(number, content, first)
        first = next_first
    size = sum(len(content) for content, _ in contents)
    return data + trailer(
        len(contents), records, holes, size, len(data), position, running_hash
    )


def seeds():
    one = hole(1, 5, 0, 77)
    two = one + hole(6, 9, 77, 78)
    yield "empty", whole([], 0, 0, 0, 0)
    yield "hole", whole([(one, 6)], 0, 1, 5, 77)
    yield "holes", whole([(two, 10)], 0, 2, 9, 78)
    yield "frames", whole([(one, 6), (hole(6, 9, 77, 78), 10)], 0, 2, 9, 78)
    yield "record", whole([(record(1), 2)], 1, 0, 1, 1)
    yield "records", whole([(record(1) + record(2), 3)], 2, 0, 2, 1)
    yield "wrong-position", whole([(record(2), 3)], 1, 0, 2, 1)
    yield "backwards", whole([(hole(5, 1, 0, 77), 2)], 0, 1, 1, 77)
    yield "other-magic", header(0, 0, b"ANNALBK2")
    yield "other-version", header(0, 0, version=2) + trailer(0, 0, 0, 0, 88, 0, 0)
    yield "no-trailer", header(5, 77) + frame(1, one)
    yield "cut", (header(5, 77) + frame(1, one))[:-3]
    yield "no-zstd", header(5, 77) + frame(1, one, zstd=b"nothing") + bytes(64)
    yield "too-large", header(5, 77) + frame(1, one, size=1 << 30) + bytes(64)
    yield "longer", header(5, 77) + frame(1, one, size=200) + bytes(64)
    yield "deep", whole([(b"\x91" * 40, 2)], 0, 1, 1, 0)
    yield "more", whole([], 0, 0, 0, 0) + b"x"


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, data in seeds():
        with open(os.path.join(FOLDER, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main()
