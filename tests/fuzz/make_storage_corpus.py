#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets of storage: records, commands and queries of every kind."""
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def text(value):
    size = len(value)
    if size < 32:
        return bytes([0xA0 | size]) + value
    if size < 256:
        return bytes([0xD9, size]) + value
    return b"\xda" + struct.pack(">H", size) + value


def blob(value):
    size = len(value)
    if size < 256:
        return bytes([0xC4, size]) + value
    return b"\xc5" + struct.pack(">H", size) + value


def record(number, stream=b"Order-1", kind=b"placed", data=b"{}", metadata=b"", tags=()):
    fixed = b"\x99\xcf" + bytes(8) + b"\xcf" + bytes(8) + b"\xcf" + bytes(8)
    ident = struct.pack(">QQ", (number << 16) | 0x7000, number)
    count = bytes([0x90 | len(tags)]) if len(tags) < 16 else b"\xdc" + struct.pack(">H", len(tags))
    return (fixed + b"\xc4\x10" + ident + text(stream) + text(kind) + blob(data) + blob(metadata)
            + count + b"".join(text(tag) for tag in tags))


def section(tag, content):
    return struct.pack("<I", tag | len(content) << 8) + content


def expectation(stream, kind=0, version=0, written=1, index=0):
    return section(1, struct.pack("<BBHIQ", kind, written, 0, index, version) + stream)


def query_item(types=(), tags=(), categories=(), streams=(), prefix=b""):
    parts = (types, tags, categories, streams)
    names = b"".join(struct.pack("<H", len(name)) + name for part in parts for name in part)
    return struct.pack("<5H", *(len(part) for part in parts), len(prefix)) + names + prefix


def query(*items):
    return struct.pack("<I", len(items)) + b"".join(items)


def condition(asked, after=0, index=0):
    return section(3, struct.pack("<IIQ", index, 0, after) + asked)


def checkpoint(number, consumer=b"c", position=5, epoch=0, if_position=None, deleted=False):
    data = b"\x80" if deleted else (b"\x82" + text(b"position") + bytes([position])
                                    + text(b"epoch") + bytes([epoch]))
    kind = b"$checkpoint-deleted" if deleted else b"$checkpoint"
    return section(4, struct.pack("<QQ", if_position is not None, if_position or 0)
                   + record(number, b"$checkpoint-" + consumer, kind, data))


def item(*sections):
    content = b"".join(sections)
    return struct.pack("<I", len(content)) + content


def command(*items, kind=1):
    return struct.pack("<BBHIq", kind, 1, 0, len(items), 1700000000 * 10**9) + b"".join(items)


def packed(content, size=None):
    """The items as an LZ4 block of literals alone."""
    more = len(content) - 15
    block = bytes([len(content) << 4]) if more < 0 else b"\xf0" + b"\xff" * (more // 255) + bytes([more % 255])
    return command(kind=3)[:4] + struct.pack("<Iq", 1, 1700000000 * 10**9) + struct.pack(
        "<I", len(content) if size is None else size) + block + content


ONE = item(expectation(b"Order-1"), section(2, record(1)))
TWO = item(expectation(b"a"), expectation(b"b", kind=3, written=0),
           section(2, record(2, b"a")), section(2, record(3, b"a")))

RECORDS = {
    "plain": record(1), "tags": record(2, tags=(b"x", b"y" * 40)),
    "many-tags": record(3, tags=tuple(b"t%d" % i for i in range(20))),
    "long-names": record(4, b"n" * 300, b"k" * 100), "large": record(5, data=b"d" * 700),
    "system": record(6, b"$checkpoint-x"), "cut": record(7)[:60],
}

QUERIES = {
    "all": query(), "type": query(query_item(types=(b"placed", b"paid"))),
    "tags": query(query_item(tags=(b"x", b"y"))),
    "category": query(query_item(categories=(b"Order",))),
    "streams": query(query_item(streams=(b"Order-1", b"Order-2"))),
    "prefix": query(query_item(prefix=b"Order-")),
    "every-part": query(query_item((b"placed",), (b"x",), (b"Order",), (b"Order-1",), b"O")),
    "items": query(query_item(types=(b"a",)), query_item(tags=(b"b",)), query_item(prefix=b"c")),
    "system": query(query_item(streams=(b"$snapshot-x",))),
    "no-part": query(query_item()), "no-name": query(query_item(tags=(b"",))),
    "cut": query(query_item(types=(b"placed",)))[:-1],
}

COMMANDS = {
    "term": command(kind=2), "empty": command(), "one": command(ONE), "twice": command(ONE, ONE),
    "two": command(TWO, ONE),
    "packed": packed(ONE), "packed-nothing": packed(b""), "packed-too-long": packed(ONE, len(ONE) + 1),
    "packed-huge": packed(ONE, 0xffffffff),
    "versions": command(item(expectation(b"s", 1, 0), section(2, record(9, b"s"))),
                        item(expectation(b"s", 1, 1), section(2, record(10, b"s"))),
                        item(expectation(b"s", 1, 9), section(2, record(11, b"s"))),
                        item(expectation(b"s", 2), section(2, record(12, b"s")))),
    "same-id": command(item(expectation(b"s"), section(2, record(1, b"s")),
                            section(2, record(1, b"s")))),
    "conflict": command(item(expectation(b"s"), section(2, record(1, b"s"))),
                        item(expectation(b"s"), section(2, record(1, b"s")),
                             section(2, record(2, b"s")))),
    "long-name": command(item(expectation(b"n" * 500),
                              section(2, record(1, b"n" * 500, tags=(b"x", b"x"))))),
    "conditions": command(item(condition(query()), expectation(b"Order-1"),
                               section(2, record(1, tags=(b"x",)))),
                          item(condition(QUERIES["tags"]), condition(QUERIES["prefix"], 1, 1),
                               expectation(b"Order-1"), section(2, record(2, tags=(b"x", b"y")))),
                          item(condition(QUERIES["items"]), condition(QUERIES["tags"], 0, 1),
                               expectation(b"Order-1"), section(2, record(3))),
                          item(condition(QUERIES["every-part"])),
                          item(condition(QUERIES["prefix"]))),
    "bad-condition": command(item(condition(QUERIES["no-part"]))),
    "checkpoints": command(item(checkpoint(1)), item(checkpoint(2, epoch=2, if_position=5)),
                           item(checkpoint(3, epoch=1)), item(checkpoint(4, deleted=True)),
                           item(checkpoint(5, deleted=True)), item(checkpoint(6, if_position=7)),
                           item(expectation(b"Order-1"), section(2, record(7)), checkpoint(8))),
    "no-checkpoint": command(item(section(4, bytes(16) + record(1, b"$checkpoint-x")))),
    "snapshot": command(item(expectation(b"Order-1", 4, 1, 0), expectation(b"$snapshot-Order-1"),
                             section(2, record(1, b"$snapshot-Order-1", b"$snapshot")))),
    "unexpected": command(item(section(2, record(1)))), "unknown-tag": command(item(section(9, b""))),
}

# ---- values of the tables: a kind, for some a key, the value; checksums are zero, the target mends them ----

MANIFEST, STATE, IDENTITY, HOLE, CHUNK, ROW, BLOCK, SYSTEM = range(8)


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def hole(first, last):
    return b"\x94" + b"".join(b"\xcf" + struct.pack(">Q", n) for n in (first, last, 5, 6))


def keyed(kind, key, value):
    return bytes([kind, len(key) - 1]) + key + value


def row(number, version, chunk, name=b"", state=1):
    head = bytes([state | (0x80 if name else 0)]) + varint(number) + varint(version) + varint(1)
    return (head + struct.pack("<qq", 5, 9) + (varint(len(name)) + name if name else b"") + chunk
            + bytes(4))


def block(first, entries, holes=()):
    """entries: bytes of records, None for a hole; holes: last positions, counted from the first."""
    records, table, rows = b"", b"", b""
    for index, entry in enumerate(entries):
        records += entry or b""
        table += struct.pack("<QI", index, len(records))
    indexes = [index for index, entry in enumerate(entries) if entry is None]
    for index, last in zip(indexes, holes):
        rows += struct.pack("<II", index, last)
    head = b"ANB2" + struct.pack("<IQQIII", len(entries), first, 77, len(records), len(holes), 0)
    return head + table + rows + records


def snapshot_data(version):
    return (b"\x83" + text(b"version") + bytes([version]) + text(b"type") + text(b"T") + text(b"data")
            + blob(b"d"))


NUMBER = struct.pack(">QQ", 3, 1)
VALUES = {
    "manifest": bytes([MANIFEST]) + b"ANNALMF1" + bytes(range(16)) + struct.pack("<QQqQQ", 9, 8, 7, 6, 0),
    "manifest-short": bytes([MANIFEST]) + b"ANNALMF1" + bytes(40),
    "state": bytes([STATE]) + b"ANNALST2" + bytes(152),
    "state-ingesting": bytes([STATE]) + b"ANNALST2" + bytes(96) + b"\x01" + bytes(55),
    "identity": bytes([IDENTITY]) + b"ANNALID1" + bytes(range(16)) + struct.pack("<QQ", 1, 0),
    "hole": bytes([HOLE]) + hole(3, 9), "hole-backwards": bytes([HOLE]) + hole(9, 3),
    "hole-end": bytes([HOLE]) + hole(1, 2**64 - 1),
    "chunk": keyed(CHUNK, NUMBER, varint(5) + varint(1) + varint(300) + varint(2**40) + bytes(4)),
    "chunk-zero": keyed(CHUNK, NUMBER, varint(5) + varint(0) + bytes(4)),
    "chunk-large": keyed(CHUNK, NUMBER, varint(2**64 - 1) + varint(1) + bytes(4)),
    "row": keyed(ROW, b"Order-1", row(1, 3, varint(1) + varint(2) + varint(9))),
    "row-name": keyed(ROW, b"nnnn\xff12345678", row(7, 500, b"", b"n" * 40)),
    "row-no-number": keyed(ROW, b"a", row(0, 1, varint(4))),
    "block": bytes([BLOCK]) + block(5, [record(1), record(2), record(3)]),
    "block-holes": bytes([BLOCK]) + block(5, [record(1), None, record(2), None], (4, 9)),
    "block-hole-alone": bytes([BLOCK]) + block(1, [None], (2**32 - 1,)),
    "block-empty": bytes([BLOCK]) + block(1, []),
    "checkpoint": bytes([SYSTEM]) + record(1, b"$checkpoint-c", b"$checkpoint",
                                          b"\x82" + text(b"position") + b"\x05" + text(b"epoch") + b"\x00"),
    "checkpoint-deleted": bytes([SYSTEM]) + record(1, b"$checkpoint-c", b"$checkpoint-deleted", b"\x80"),
    "snapshot": bytes([SYSTEM]) + record(1, b"$snapshot-s", b"$snapshot", snapshot_data(4)),
}


# ---- damage: table, what is done, which row, where in it, an argument ----

FLIP, SET, CUT, GROW, SWAP, DROP = range(6)
META, BLOCKS, TIMES, IDS = range(4)
TABLES = 12


def edit(table, kind, which, where=0, argument=1):
    return struct.pack("<BBHHH", table, kind, which, where, argument)


EDITS = {"nothing": b"", "same": edit(0, FLIP, 0, 0, 0)}
for table in range(TABLES):
    for kind, name in enumerate(("flip", "set", "cut", "grow", "swap", "drop")):
        EDITS["%s-%d" % (name, table)] = edit(table, kind, 1, 9 * table, 0x0801 + table)
EDITS["several"] = b"".join(edit(table, table % 6, 2 * table, 30, 257) for table in range(TABLES))


def main():
    for target, seeds in (("fuzz_record", RECORDS), ("fuzz_command", COMMANDS),
                          ("fuzz_query", QUERIES), ("fuzz_table_values", VALUES),
                          ("fuzz_damaged_store", EDITS)):
        folder = os.path.join(HERE, target)
        os.makedirs(folder, exist_ok=True)
        for name, content in seeds.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)


if __name__ == "__main__":
    main()
