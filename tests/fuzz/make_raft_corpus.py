#!/usr/bin/env python3
"""Write the seeds of the fuzz targets of raft: frames of each type, handshakes, files of a data directory.

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


# The small files of a data directory, and texts; checksums zero, as above.
def slot(sequence, term, vote, synced, pulled):
    return (b"ANHS0001" + u64(sequence, term, vote, synced, pulled, 0)).ljust(512, b"\0")


def note(sequence, count, synced):
    return u64(sequence, count, synced, 0).ljust(64, b"\0")


def hardstate(*parts, notes=(note(2, 1, 30), note(2, 2, 40))):
    return (b"".join(parts).ljust(4096, b"\0") + b"".join(notes)).ljust(8192, b"\0")


def peers(stage, initial, records):
    return (b"ANPEERS1" + u64(1, 77) + b"c" * 16 + struct.pack("<4I", stage, len(initial), len(records), 0)
            + b"".join(u64(*pair) for pair in initial) + b"".join(u64(*three) for three in records)
            + u64(0))


whole = hardstate(slot(2, 4, 0, 20, 5), slot(1, 3, 1, 10, 0))
write("fuzz_state_files", {
    "hardstate": b"\0" + whole,
    "hardstate-one": b"\0" + hardstate(slot(8, 3, 1, 10, 0)),
    "hardstate-old-notes": b"\0" + hardstate(slot(8, 2, 1, 10, 0), slot(9, 3, 1, 10, 0)),
    "hardstate-misplaced": b"\0" + hardstate(slot(1, 3, 1, 10, 0), slot(4, 3, 1, 10, 0)),
    "hardstate-note-of-a-lost-slot": b"\0" + hardstate(bytes(512), slot(1, 3, 1, 10, 0)),
    "hardstate-damaged": b"\2" + whole,
    "hardstate-long": b"\0" + whole + b"x",
    "hardstate-short": b"\2" + whole[:700],
    "hardstate-empty": b"\2",
    "peers-new": b"\1" + peers(0, [], []),
    "peers-formed": b"\1" + peers(1, [(1, 5), (2, 6), (3, 7)], []),
    "peers-started": b"\1" + peers(2, [(1, 5)], [(1, 0, 5), (4, 9, 8)]),
    "peers-many": b"\1" + peers(2, [(1, 5)], [(i, 0, i) for i in range(1, 257)]),
    "peers-damaged": b"\3" + peers(2, [(1, 5)], []),
    "peers-stage": b"\1" + peers(3, [], []),
    "peers-cut": b"\1" + peers(1, [(1, 5)], [])[:-9],
    "peers-empty": b"\3",
})


def payload(body, index=7, term=3):
    sealed = b"ANP1" + struct.pack("<I", len(body)) + u64(index, term, 0) + body
    return sealed + bytes(-len(sealed) % 8)


write("fuzz_payload", {
    "whole": b"\1" + payload(b"body of 11b"),
    "expected": b"\3" + payload(b"eight by"),
    "elsewhere": b"\3" + payload(b"x", index=8),
    "empty": b"\1" + payload(b""),
    "damaged": b"\0" + payload(b"body"),
    "padding": b"\1" + payload(b"body")[:-1] + b"x",
    "cut": b"\1" + payload(b"body of 11b")[:-8],
    "no-header": b"\1ANP1",
})
write("fuzz_endpoint", {
    "endpoint": b"db1.example:7001/db1.example:7000#ff",
    "endpoint-ipv6": b"[::1]:7001/[fe80::1%eth0]:7000#0123456789abcdef",
    "endpoint-no-nonce": b"a:1/b:2#",
    "endpoint-nonce": b"a:1/b:2#00000000000000001",
    "endpoint-port": b"a:0/b:2#1",
    "roster": b"1=a:1/a:2,2=b:1/b:2,3=c:1/c:2",
    "roster-one": b"18446744073709551615=a:65535/a:2",
    "roster-twice": b"1=a:1/a:2,1=b:1/b:2",
    "roster-same-peer": b"1=a:1/a:2,2=a:1/b:2",
    "roster-same-client": b"1=a:1/a:2,2=b:1/a:2",
    "roster-zero": b"0=a:1/a:2",
    "roster-comma": b"1=a:1/a:2,",
    "roster-many": b",".join(b"%d=a:%d/a:%d" % (i, i, 100 + i) for i in range(1, 11)),
    "roster-signed": b"+1=a:1/a:2",
    "roster-space": b" 1=a:1/a:2",
})


# ---- a directory of libraft's files; checksums zero, as above ----
KEEP_CHECKSUMS, HAS_STARTED, HAS_RECORD = 1, 2, 4
METADATA, OPEN, CLOSED, SNAPSHOT, CONTENT, OTHER = range(6)
BARRIER, COMMAND, CHANGE = 2, 1, 3


def in_directory(kind, a, b, content):
    return bytes([kind, a, b]) + struct.pack("<H", len(content)) + content


def directory(*files, flags=HAS_STARTED | HAS_RECORD, applied=0, record=(3, 1, 0)):
    head = bytes([flags, applied]) + (bytes(record) if flags & HAS_RECORD else b"")
    return head + b"".join(files)


def metadata(version, term, vote):
    return in_directory(METADATA, version + 1, 0, u64(1, version, term, vote))


def batch(*entries):
    header = u64(len(entries)) + b"".join(
        struct.pack("<QB3xI", term, kind, len(data)) for term, kind, data in entries
    )
    return u64(0) + header + b"".join(data for _, _, data in entries)


def command(index, term, body=b"body of 11b"):
    return (term, COMMAND, payload(body, index, term))


def segment(*batches):
    return u64(1) + b"".join(batches)


def snapshot(term, index, members, position=9):
    manifest = b"ANNALMF1" + b"c" * 16 + u64(index, position, 5, 6, 0)
    return in_directory(SNAPSHOT, term, index, u64(1, 0, index, len(members)) + members) + in_directory(
        CONTENT, term, index, manifest)


one = configuration([(1, b"a:1/a:2#1", 1)])
NOW = metadata(1, 3, 1) + metadata(2, 3, 1)
FIRST = in_directory(CLOSED, 1, 2, segment(batch((1, CHANGE, one)), batch(command(2, 3), command(3, 3))))
NEXT = in_directory(CLOSED, 4, 0, segment(batch(command(4, 3))))
OPENED = in_directory(OPEN, 1, 0, segment(batch(command(4, 3)), batch((3, BARRIER, bytes(8)), command(6, 3))))
FULL_BUT_8 = in_directory(OPEN, 1, 0, segment(batch(command(4, 3, bytes(32768 - 8 - 8 - 32 - 32)))))
write("fuzz_log_directory", {
    "empty": directory(flags=0),
    "metadata-alone": directory(NOW),
    "metadata-of-another-term": directory(metadata(1, 9, 1)),
    "metadata-short": directory(in_directory(METADATA, 1, 0, u64(1, 1, 3))),
    "metadata-same-version": directory(metadata(1, 3, 1), in_directory(METADATA, 1, 0, u64(1, 1, 4, 0))),
    "closed": directory(NOW, FIRST, NEXT),
    "closed-without-record": directory(NOW, FIRST, NEXT, flags=0),
    "record-lost": directory(NOW, FIRST, NEXT, flags=HAS_STARTED),
    "closed-gap": directory(NOW, FIRST, in_directory(CLOSED, 6, 0, segment(batch(command(6, 3))))),
    "closed-empty": directory(NOW, FIRST, in_directory(CLOSED, 4, 0, b"")),
    "closed-longer-than-named": directory(NOW, in_directory(CLOSED, 1, 0, segment(batch((1, CHANGE, one)), batch(command(2, 3))))),
    "open": directory(NOW, FIRST, OPENED),
    "open-two": directory(NOW, FIRST, OPENED, in_directory(OPEN, 2, 0, segment(batch(command(7, 3))))),
    "open-unwritten": directory(NOW, FIRST, OPENED, in_directory(OPEN, 2, 0, b"")),
    "open-unwritten-before": directory(NOW, FIRST, in_directory(OPEN, 1, 0, bytes(64)), in_directory(OPEN, 2, 0, segment(batch(command(4, 3))))),
    "open-torn": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch(command(4, 3)))[:-20])),
    "open-garbage": directory(NOW, FIRST, in_directory(OPEN, 1, 0, b"garbage in the open segment")),
    "open-full-but-8": directory(NOW, FIRST, FULL_BUT_8, record=(3, 1, 4)),
    "open-count-damaged": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch(command(4, 3))) + u64(0, 3000) + bytes(64))),
    "open-size-damaged": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch(command(4, 3))) + batch((3, COMMAND, bytes(40)))[:28] + struct.pack("<I", 1 << 30) + bytes(64))),
    "open-type-damaged": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch(command(4, 3)), batch((3, 9, bytes(8)))))),
    "open-behind-synced": directory(NOW, FIRST, OPENED, record=(3, 1, 9)),
    "open-behind-applied": directory(NOW, FIRST, OPENED, applied=9),
    "open-no-entries": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch()))),
    "entry-empty": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch((3, BARRIER, b""))))),
    "entry-of-no-type": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch((3, 9, bytes(8)))))),
    "entry-at-another-index": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch(command(5, 3))))),
    "entry-of-another-term": directory(NOW, FIRST, in_directory(OPEN, 1, 0, segment(batch((2, COMMAND, payload(b"x", 4, 3)))))),
    "entries-too-many": directory(NOW, FIRST, in_directory(OPEN, 1, 0, u64(1, 0, 1 << 40) + bytes(64))),
    "change-damaged": directory(NOW, in_directory(CLOSED, 1, 0, segment(batch((1, CHANGE, one[:20]))))),
    "snapshot": directory(NOW, snapshot(3, 3, one), FIRST, NEXT, applied=3),
    "snapshot-alone": directory(NOW, snapshot(3, 9, three), applied=5),
    "snapshot-two": directory(NOW, snapshot(2, 3, one), snapshot(3, 5, three), FIRST, NEXT),
    "snapshot-behind-the-log": directory(NOW, snapshot(3, 9, one), FIRST),
    "snapshot-without-content": directory(NOW, in_directory(SNAPSHOT, 3, 3, u64(1, 0, 3, len(one)) + one), FIRST),
    "snapshot-configuration-too-long": directory(NOW, in_directory(SNAPSHOT, 3, 3, u64(1, 0, 3, 1 << 50) + one), in_directory(CONTENT, 3, 3, b"x")),
    "snapshot-damaged": directory(NOW, snapshot(3, 3, one), FIRST, flags=HAS_STARTED | HAS_RECORD | KEEP_CHECKSUMS),
    "other": directory(NOW, in_directory(OTHER, 0, 0, b"notes.txt")),
    "other-left-by-a-crash": directory(NOW, in_directory(OTHER, 0, 0, b"tmp-1"), in_directory(OTHER, 0, 0, b".probe")),
})
