#!/usr/bin/env python3
"""Write the seeds of the fuzz targets of raft: frames of each type, and handshakes.

Checksums are left zero: fuzz_wire mends them, fuzz_handshake reads none."""
import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus"


def u64(*values):
    return struct.pack(f"<{len(values)}Q", *values)


def frame(kind, meta, payload=b""):
    return struct.pack("<4sB3xIIQQ", b"ANR1", kind, len(meta), len(payload), 0, 0) + meta + payload


def entry(term, kind, size):
    return struct.pack("<QIB3x", term, size, kind)


def configuration(members):
    body = b"\x01" + u64(len(members))
    for node, address, role in members:
        body += u64(node) + address + b"\0" + bytes([role])
    return body + bytes(-len(body) % 8)


def write(target, seeds):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        (folder / name).write_bytes(seed)


def text(value, width):
    return len(value).to_bytes(width, "little") + value


def handshake(purpose, verdict, cluster, instances=()):
    return (struct.pack("<HBBI", 1, purpose, verdict, 0) + u64(2, 1, 7, 3, 4, 5, 6) + cluster
            + text(b"test", 1) + text(b"b:1/b:2#3", 2) + text(b"because", 2)
            + bytes([len(instances)]) + b"".join(u64(*pair) for pair in instances))


three = configuration([(1, b"a:1/a:2#1", 1), (3, b"b:1/b:2#ff", 0), (9, b"[::1]:7/c:2#0", 2)])
mixed = [entry(4, 1, 136), entry(5, 2, 8), entry(5, 3, len(three)), entry(6, 1, 40)]
write("fuzz_wire", {
    "heartbeat": frame(1, u64(6, 10, 4, 9)),
    "entries": frame(1, u64(6, 10, 4, 9) + b"".join(mixed), bytes(136 + 8) + three + bytes(40)),
    "append-result": frame(2, u64(1, 2, 3)),
    "vote": frame(3, u64(4, 3, 5, 6, 2)),
    "vote-result": frame(4, u64(7, 3)),
    "snapshot": frame(5, u64(8, 99, 7, 12) + three, b"ANNALMF1" + bytes(56)),
    "timeout-now": frame(6, u64(8, 9, 10)),
    "hello-too-late": frame(7, handshake(1, 0, bytes(16))),
})
write("fuzz_handshake", {
    "hello": handshake(1, 0, b"c" * 16),
    "forming": handshake(2, 0, bytes(16)),
    "formed": handshake(2, 1, b"c" * 16, [(1, 5), (2, 7)]),
    "lost": handshake(1, 4, bytes(16)),
    "removed": handshake(1, 5, bytes(16)),
})
