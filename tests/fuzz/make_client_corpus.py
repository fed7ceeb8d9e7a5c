#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets of the client: addresses, answers, lines of an import, queries."""
import os
import subprocess

import msgpack

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")

URIS = {
    "plain": "annal://127.0.0.1:7000",
    "several": "annal://db1.example:7000,db2.example:7000,[::1]:7000/",
    "options": "annal://a:1?timeout_ms=100&read_from=any&session=off&follow=off",
    "texts": "ANNAL://a:1/?client=shop%20floor&user=me&password=p%26q&token=%7Bx%7D",
    "scope": "annal://[fe80::1%eth0]:7000",
    "no-port": "annal://db1.example",
    "no-scheme": "http://db1.example:7000",
    "no-host": "annal://:7000",
    "port-zero": "annal://a:0",
    "port-large": "annal://a:65536",
    "bracket": "annal://[::1:7000",
    "path": "annal://a:1/x",
    "unknown": "annal://a:1?colour=red",
    "percent": "annal://a:1?client=%0",
    "percent-zero": "annal://a:1?client=%00",
    "long-option": "annal://a:1?client=" + "x" * 300,
    "long-host": "annal://" + "h" * 256 + ":1",
    "many": "annal://" + ",".join("a:%d" % (i + 1) for i in range(33)),
    "address": "db1.example:7001",
}

QUERIES = {
    "one": "type=OrderPlaced",
    "parts": "type=OrderPlaced,OrderPaid tag=customer:7; category=Refund",
    "all": "all",
    "quoted": 'tag="a b",c\\,d prefix="Order-"',
    "prefixes": "prefix=a,b stream=x,y",
    "again": "type=a type=b tag=c tag=d",
    "empty": "",
    "empty-item": "type=a;;type=b",
    "empty-value": "type=",
    "unknown": "colour=red",
    "open-quote": 'type="a',
    "escape-end": "type=a\\",
    "many-items": ";".join("type=t%d" % i for i in range(65)),
    "many-prefixes": "prefix=" + ",".join("p%d" % i for i in range(65)),
    "time": "2024-02-29T12:34:56.789012345+01:30",
    "time-date": "1969-12-31",
    "time-ago": "now-1d12h",
    "time-units": "-1w2d3h4m5s",
    "time-leap": "2023-02-29T00:00:60Z",
    "time-far": "9999-12-31T23:59:59Z",
    "base64": "aGVsbG8=",
    "base64-short": "aGVsbG8",
}

ONE = '{"stream":"Order-1","type":"T","data":{"a": [1.50, "x"]},"metadata":null,"tags":["t","u"]}'
LINES = {
    "plain": ONE,
    "id": '{"id":"01890a5d-ac96-774b-bcce-b302099a8057","stream":"s","type":"T"}',
    "forms": '{"stream":"s","type":"T","data_text":"a\\u0000\\n","metadata_base64":"aGVsbG8="}',
    "expect": '{"stream":"s","type":"T","expected_version":3}\n{"stream":"s","type":"T"}',
    "expect-word": '{"stream":"s","type":"T","expected_version":"no_stream"}',
    "spaces": ' { "stream" : "s" , "type" : "T" , "data" : [ ] } \r\n\n' + ONE,
    "escapes": '{"stream":"a\\"b\\\\","type":"\\u00e9\\ud83d\\ude00","d\\u0061ta":1}',
    "twice": '{"stream":"s","type":"T","data":1,"data":{"b":"}"}}',
    "nested": '{"x":{"stream":"no","data":[{"data":"]"}]},"stream":"s","type":"T","data":"x\\"}"}',
    "both": '{"stream":"s","type":"T","data":1,"data_text":"x"}',
    "no-type": '{"stream":"s"}',
    "no-object": "[1]",
    "no-json": "{",
    "tags": '{"stream":"s","type":"T","tags":[%s]}' % ",".join('"t%d"' % i for i in range(33)),
    "system": '{"stream":"$s","type":"T"}',
    "numbers": '{"stream":"s","type":"T","data":-0.0e+10}',
    "large-number": '{"stream":"s","type":"T","data":123456789012345678901234567890}',
    "deep": '{"stream":"s","type":"T","data":' + "[" * 300 + "]" * 300 + "}",
    "empty": "",
}


def packed(value):
    return msgpack.packb(value, use_bin_type=True)


ID = bytes(range(16))
EVENT = [7, 2, 1700000000 * 10**9, ID, "Order-1", "placed", b"{}", b"", ["a", "b"]]
PAGE = {"events": [EVENT, EVENT[:8] + [[]]], "next": 9, "end": False, "head": 20, "version": 5,
        "first_version": 1, "state": "live"}
ERROR = {"code": "WRONG_EXPECTED_VERSION", "message": "no", "violations": [
    {"index": 0, "stream": "s", "expected": 3, "actual": 4, "state": "live"},
    {"index": 1, "stream": "t", "expected": "no_stream", "actual": 1, "state": "deleted"}]}
# In the order of the target's table of methods.
ANSWERS = [
    ("append", {"first_position": 3, "position": 4, "first_version": 1, "version": 2, "created": 5,
                "duplicate": False}),
    ("append-several", {"first_position": 3, "position": 4, "created": 5, "versions": {"a": 1, "b": 2}}),
    ("read", PAGE),
    ("read-position", {**PAGE, "events": [EVENT]}),
    ("read-id", {**PAGE, "events": []}),
    ("stream-info", {"state": "live", "version": 3, "first_version": 1, "count": 3, "created": 1,
                     "updated": 2, "head": 9}),
    ("count", {"count": 5, "head": 9}),
    ("position-at", {"position": 5, "head": 9}),
    ("list-streams", {"streams": [["a", 1], ["b", 2]], "names": [["a", 1]], "next": "b", "end": True, "head": 9}),
    ("list-types", {"types": [["a", 1]], "names": [["a", 1]], "next": b"b", "end": False, "head": 9}),
    ("checkpoint-put", {"log_position": 5}),
    ("checkpoint-get", {"consumer": "c", "position": 5, "epoch": 1, "updated": 3}),
    ("checkpoint-list", {"checkpoints": [{"consumer": "c", "position": 5, "epoch": 1, "updated": 3}],
                         "next": "c", "end": True, "head": 4}),
    ("snapshot-get", {"version": 3, "type": "T", "data": b"d", "created": 4}),
    ("load", {**PAGE, "snapshot": {"version": 3, "type": "T", "data": b"d", "created": 4}}),
    ("call", {"anything": [1, 2, {"x": None}]}),
    ("hello", {"version": "0.1.0", "protocol": 1, "node_id": 1, "cluster": "c", "role": "leader",
               "leader_id": 1, "leader": "127.0.0.1:1", "head": 5,
               "limits": {"max_event": 1, "max_append": 2, "max_message": 3, "max_depth": 4}}),
    ("ping", {"time": 5, "head": 6, "role": "leader"}),
    ("digest", {"position": 5, "hash": b"12345678"}),
    ("backup", {"path": "/x", "position": 5, "bytes": 100}),
    ("cluster-status", {"cluster": "c", "term": 3, "leader_id": 1, "head": 5, "commit_index": 6,
                        "applied_index": 6, "nodes": [
                            {"id": 1, "address": "a:1", "client_address": "a:2", "role": "voter",
                             "state": "leader", "match": 5, "head": 5, "lag": 0, "last_contact_ms": None},
                            {"id": 2}]}),
    ("cluster-add", {}),
    ("iterate", PAGE),
    ("server", {"node_id": 1}),
]
STREAM = len(ANSWERS)  # a subscription's bytes as they come; behind it a node's
GREETING = packed([1, 2**32 - 1, None, ANSWERS[16][1]])
SUBSCRIBED = packed([1, 1, None, {"subscription": 4}])


def notification(method, *parameters):
    return packed([2, method, list(parameters)])


STREAMS = {
    "events": notification("events", 4, [EVENT], 7),
    "history": notification("events", 4, [EVENT, [8] + EVENT[1:]], 9) + notification("caught_up", 4, 9)
    + notification("checkpoint", 4, 30) + notification("fell_behind", 4, 31),
    "dropped": notification("dropped", 4, {"code": "OVERLOADED", "message": "slow"}, 5),
    "ended": notification("dropped", 4, {"code": "STREAM_TOMBSTONED", "message": "gone"}, 5),
    "error": notification("error", {"code": "INVALID_ARGUMENT"}),
    "unknown": notification("more", 1), "ping": packed([1, 2**32 - 2, None, {}]),
    "cut": notification("events", 4, [EVENT], 7)[:-3], "no-message": packed([3, 1]),
    "refused": packed([1, 1, {"code": "NOT_FOUND", "message": "x"}, None]),
}


def answers():
    for number, (name, body) in enumerate(ANSWERS):
        yield name, bytes([number]) + packed(body)
        yield name + "-failed", bytes([128 | number]) + packed(ERROR)
    yield "not-leader", bytes([128]) + packed({"code": "NOT_LEADER", "message": "x", "leader": "127.0.0.1:2"})
    yield "conflict", bytes([128]) + packed({"code": "CONDITION_FAILED", "events": [EVENT], "position": 7})
    yield "later-code", bytes([128]) + packed({"code": "NEW", "message": "m" * 600, "retry_after_ms": 5})
    for name, data in STREAMS.items():
        yield "live-" + name, bytes([STREAM]) + data
        yield "asking-" + name, bytes([STREAM + 1]) + GREETING + SUBSCRIBED + data
        yield "node-" + name, bytes([STREAM + 2]) + GREETING + data


def write(target, seeds):
    folder = os.path.join(HERE, target)
    os.makedirs(folder, exist_ok=True)
    for name, content in seeds:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())


def compressed(text):
    return subprocess.run(["zstd", "-qc", "--no-check"], input=text, stdout=subprocess.PIPE, check=True).stdout


def main():
    write("fuzz_uri", URIS.items())
    write("fuzz_notation", QUERIES.items())
    lines = dict(LINES)
    lines["many"] = "\n".join(line for line in (ONE, LINES["id"], LINES["forms"]))
    lines["compressed"] = compressed(lines["many"].encode())
    lines["compressed-cut"] = lines["compressed"][:-4]
    lines["compressed-long"] = compressed((ONE + "\n").encode() * 9000)
    write("fuzz_import", lines.items())
    write("fuzz_answers", answers())


if __name__ == "__main__":
    main()
