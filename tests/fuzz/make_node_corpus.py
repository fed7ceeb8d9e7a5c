#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets of node/ (tests/fuzz/corpus/fuzz_session, fuzz_append, and so on)."""

import os

import msgpack

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def packed(value):
    return msgpack.packb(value, use_bin_type=True)


def write(target, seeds):
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    for name, data in seeds.items():
        with open(os.path.join(ROOT, target, name), "wb") as file:
            file.write(data)


def event(**more):
    return {"type": "T", "data": b"d", **more}


ID = bytes(range(16))
APPENDS = {
    "plain": {"stream": "s-1", "events": [event()]},
    "full": {
        "stream": "s-1",
        "expected_version": 3,
        "on_conflict": "events",
        "events": [event(id=ID, metadata=b"m", tags=["a", "b", "a"]), event(id=ID[::-1])],
    },
    "no_stream": {"stream": "s-2", "expected_version": "no_stream", "events": [event()]},
    "same_id": {"stream": "s-2", "events": [event(id=ID), event(id=ID)]},
    "several": {
        "writes": [
            {"stream": "a", "expected_version": 0, "events": [event(), event()]},
            {"stream": "b", "expected_version": "any", "events": [event(data="text")]},
            {"stream": "a", "events": [event()]},
        ],
        "checks": [{"stream": "c", "expected_version": "stream_exists"}],
    },
    "depends": {
        "writes": [{"stream": "a", "events": [event(tags=["t"])]}],
        "checks": [{"stream": "b", "expected_version": 4}],
        "condition": [
            {"fail_if": [{"types": ["T", "U"], "tags": ["t"]}, {"stream_prefix": "a-"}], "after": 3},
            {"fail_if": "all", "after": 9},
        ],
        "checkpoint": {"consumer": "c", "position": 7, "epoch": 1, "if_position": 0},
        "on_conflict": "events",
    },
    "condition_alone": {"condition": {"fail_if": [{"categories": ["a"], "streams": ["a-1"]}]}},
    "checkpoint_alone": {"writes": [], "checkpoint": {"consumer": "c", "position": 2**64 - 1}},
    "nothing": {"writes": [], "checks": []},
    "wrong_depends": {
        "stream": "s",
        "events": [event()],
        "condition": [{"fail_if": [{"tags": [5, ""]}]}, {}],
        "checkpoint": {"consumer": "$c"},
    },
    "wrong": {"stream": "$s", "events": [{"type": "", "data": 5}], "condition": {}},
}
QUERY = [
    {"types": ["T"], "tags": ["a", "b"]},
    {"streams": ["s-1", "a"]},
    {"stream_prefix": "s-", "categories": ["s"]},
    {"stream_prefix": "a"},
]
REQUESTS = {
    "ping": ("ping", [{}]),
    "ping_without_params": ("ping", []),
    "hello": ("hello", [{"client": "c", "timeout_ms": 1000}]),
    "stats": ("stats", [{}]),
    "digest": ("digest", [{"position": 1}]),
    "cluster_status": ("cluster_status", [{}]),
    "cluster_add": (
        "cluster_add",
        [{"id": 2, "peer_address": "h:1", "client_address": "h:2", "role": "spare"}],
    ),
    "cluster_remove": ("cluster_remove", [{"id": 1}]),
    "cluster_transfer": ("cluster_transfer", [{}]),
    "read_stream": ("read_stream", [{"stream": "s-1", "direction": "backward", "limit": 2}]),
    "read_all": ("read_all", [{"from": 1, "max_bytes": 100, "consistency": {"at_least": 1}}]),
    "read_event": ("read_event", [{"id": ID}]),
    "read_query": ("read_all", [{"query": QUERY, "direction": "backward"}]),
    "load": ("load", [{"stream": "s-1", "limit": 2}]),
    "count": ("count", [{"query": QUERY}]),
    "position_at": ("position_at", [{"time": 5}]),
    "stream_list": ("stream_list", [{"prefix": "s", "category": "s", "after": "s-1", "limit": 1}]),
    "category_list": ("category_list", [{"after": "a"}]),
    "type_list": ("type_list", [{"prefix": "T"}]),
    "stream_info": ("stream_info", [{"stream": "s-1"}]),
    "subscribe": ("subscribe", [{"query": "all", "after": 0, "window": 5}]),
    "subscribe_query": ("subscribe", [{"query": QUERY, "after": "end"}]),
    "checkpoint_put": ("checkpoint_put", [{"consumer": "c", "position": 1, "if_position": 0, "epoch": 2}]),
    "checkpoint_get": ("checkpoint_get", [{"consumer": "c", "consistency": {"at_least": 0}}]),
    "checkpoint_list": ("checkpoint_list", [{"prefix": "c", "after": "b", "limit": 3}]),
    "checkpoint_delete": ("checkpoint_delete", [{"consumer": "c"}]),
    "snapshot_put": ("snapshot_put", [{"stream": "s-1", "version": 1, "type": "T", "data": b"d"}]),
    "snapshot_get": ("snapshot_get", [{"stream": "s-1", "max_version": 3}]),
    "snapshot_delete": ("snapshot_delete", [{"stream": "s-1"}]),
    "read_position": ("read_event", [{"position": 1}]),
    "read_version": ("read_event", [{"stream": "s-1", "version": 1}]),
    "read_raw": ("read_all", [{"raw": True, "from": 1, "limit": 3}]),
    "read_system": ("read_all", [{"system": True, "consistency": "local"}]),
    "read_linearizable": ("read_all", [{"consistency": "linearizable", "timeout_ms": 1}]),
    "read_barrier": ("$read_barrier", [{}]),
    "cluster_assign": ("cluster_assign", [{"id": 2, "role": "voter"}]),
    "cluster_known": ("cluster_add", [{"id": 1, "peer_address": "h:1", "client_address": "h:2"}]),
    "backup_relative": ("backup", [{"path": "x"}]),
    "unsubscribe": ("unsubscribe", [{"subscription": 1}]),
    "unknown": ("no_such_method", [{}]),
    "bad_params": ("ping", [1, 2]),
}




# ---- pages that a peer answers ----


def stored(position, stream=b"s", version=1, kind=b"T", created=0, ident=None):
    """A record as it is stored: numbers in nine bytes each."""
    numbers = b"".join(b"\xcf" + n.to_bytes(8, "big") for n in (position, version, created))
    ident = position.to_bytes(16, "big") if ident is None else ident
    return (
        b"\x99" + numbers + b"\xc4\x10" + ident + packed(stream.decode()) + packed(kind.decode())
        + b"\xc4\x01d\xc4\x00\x90"
    )


def hole(first, last, before=0, after=9):
    return b"\x94" + b"".join(b"\xcf" + n.to_bytes(8, "big") for n in (first, last, before, after))


def page(*items, horizon=None, manifest=None, more=None):
    pairs = [(packed("events"), bytes([0x90 | len(items)]) + b"".join(items))]
    if horizon is not None:
        pairs.append((packed("horizon"), packed(horizon)))
    if manifest is not None:
        pairs.append((packed("manifest"), packed(manifest)))
    if more is not None:
        pairs.append((packed("more"), packed(more)))
    return bytes([0x80 | len(pairs)]) + b"".join(key + value for key, value in pairs)


def manifest(position, running_hash=9, index=5):
    return b"ANNALMF1" + bytes(16) + b"".join(
        n.to_bytes(8, "little") for n in (index, position, 0, running_hash, 0)
    )


CHECKPOINT = b"$checkpoint-c"
PAGES = {
    "empty": page(),
    "one": page(stored(1)),
    "two": page(stored(1), stored(2, version=2)),
    "streams": page(stored(1), stored(2, b"t"), stored(3, b"$meta")),
    "same_id": page(stored(1), stored(2, b"t", ident=bytes(15) + b"\x01")),
    "gap": page(stored(1), stored(3, version=2)),
    "version_gap": page(stored(1), stored(2, version=3)),
    "checkpoints": page(stored(1, CHECKPOINT, kind=b"$checkpoint"), stored(2, CHECKPOINT, 4)),
    "time_back": page(stored(1, created=9), stored(2, b"t", created=8)),
    "hole": page(hole(1, 5), horizon=9, manifest=manifest(5)),
    "hole_before": page(hole(1, 9), stored(10)),
    "hole_between": page(stored(1), hole(2, 4, 7, 8), stored(5, version=2), horizon=2),
    "holes": page(hole(1, 3), hole(4, 9, 9, 10)),
    "hole_end": page(hole(1, 2**64 - 1), horizon=1),
    "hole_then_zero": page(hole(1, 2**64 - 1), stored(0)),
    "manifest": page(stored(1), manifest=manifest(1)),
    "manifest_old": page(hole(1, 5), horizon=9, manifest=manifest(3)),
    "no_manifest": page(stored(1), manifest=b"x"),
    "more": page(stored(1), more=[1, {"a": None}]),
    "no_record": page(packed(5)),
    "no_events": packed({"horizon": 1}),
    "no_map": packed([1]),
}


# ---- what another member answers: the steps of fuzz_peer_answers ----
CALL, TURN, ANSWER, ERROR, NAMED, NOTIFY, BYTES, END, RETIRE, THEN = range(10)
THEN_CALL, THEN_FREE = 1, 2


def sized(data):
    return len(data).to_bytes(2, "little") + data


def call(params):
    return bytes([CALL]) + sized(packed(params))


def answer(which, result):
    return bytes([ANSWER, which]) + sized(packed(result))


def error(which, value):
    return bytes([ERROR, which]) + sized(packed(value))


def raw(data):
    return bytes([BYTES]) + sized(data)


TURNS = bytes([TURN] * 3)
ASKED = call({"stream": "s", "events": [event()]}) + TURNS
RESULT = {"position": 7, "first_position": 7, "versions": [{"stream": "s", "version": 1}]}
EXCHANGES = {
    "answer": ASKED + answer(0, RESULT),
    "answer_log_position": ASKED + answer(0, {"log_position": 9, "head": 9}),
    "answer_nil": ASKED + answer(0, None),
    "answers": call({}) + call({"a": 1}) + call({"b": [1]}) + TURNS + answer(2, 3) + answer(0, 1) + answer(1, 2),
    "answer_twice": ASKED + answer(0, 1) + answer(0, 2),
    "answer_twice_of_two": ASKED + call({}) + TURNS + answer(0, 1) + answer(0, 2) + TURNS,
    "answer_before_it_is_sent": call({}) + answer(0, 1) + TURNS,
    "answer_before_it_is_sent_on": ASKED + call({}) + answer(1, 1) + bytes([TURN]),
    "answer_to_nobody": ASKED + raw(packed([1, 99, None, 5])),
    "answers_of_a_turn": ASKED + b"".join(call({"n": n}) for n in range(6)) + TURNS + b"".join(answer(n, n) for n in range(7)),
    "error": ASKED + error(0, {"code": "NOT_LEADER", "message": "m", "leader": "b:1"}),
    "error_unknown": ASKED + error(0, {"code": "TIMEOUT", "outcome": "unknown"}),
    "error_without_code": ASKED + error(0, {"message": "m"}),
    "error_code_nil": ASKED + error(0, {"code": None, "outcome": 5}),
    "error_no_map": ASKED + error(0, [1]),
    "error_empty": ASKED + error(0, {}),
    "named": b"".join(call({}) for _ in range(13)) + TURNS + b"".join(bytes([NAMED, n, n]) for n in range(13)),
    "notification": ASKED + bytes([NOTIFY]) + sized(packed([1, 2])) + answer(0, RESULT),
    "notification_long": ASKED + raw(packed([2, "x", [], 1])),
    "request": ASKED + raw(packed([0, 1, "ping", []])),
    "no_array": ASKED + raw(packed({"a": 1})),
    "no_msgpack": ASKED + raw(b"\xc1"),
    "too_deep": ASKED + raw(b"\x94\x01\x00\xc0" + b"\x91" * 100),
    "too_long": ASKED + raw(b"\x94\x01\x00\xc0\xc6\xff\xff\xff\xff"),
    "in_pieces": ASKED + b"".join(raw(bytes([b])) + bytes([TURN]) for b in packed([1, 0, None, "abc"])),
    "cut": ASKED + raw(packed([1, 0, None, RESULT])[:-3]) + bytes([END, 0]) + TURNS,
    "end": ASKED + bytes([END, 0]) + TURNS + ASKED + answer(1, RESULT),
    "reset": ASKED + bytes([END, 1]) + TURNS + ASKED + answer(1, RESULT),
    "retire": ASKED + call({"late": 1}) + bytes([RETIRE]) + TURNS + answer(0, RESULT),
    "retire_at_once": call({}) + bytes([RETIRE]) + TURNS + ASKED + answer(1, 1),
    "then_call": ASKED + bytes([THEN, THEN_CALL]) + answer(0, 1) + TURNS + answer(1, 2),
    "then_free": ASKED + call({}) + TURNS + bytes([THEN, THEN_FREE]) + answer(0, 1) + answer(1, 2) + TURNS + ASKED + answer(0, 3),
    "then_free_when_lost": ASKED + bytes([THEN, THEN_FREE]) + raw(b"\xc1") + TURNS + ASKED + answer(0, 3),
    "then_call_when_lost": ASKED + bytes([THEN, THEN_CALL]) + bytes([END, 1]) + TURNS + answer(1, 3),
    "params_of_a_client": call({"forward": True, "timeout_ms": 5, "forward_turn": 1, "forward_term": None}) + TURNS + answer(0, 1),
    "params_many": call({str(n): n for n in range(40)}) + TURNS + answer(0, 1),
}


def main():
    write("fuzz_peer_answers", EXCHANGES)
    write("fuzz_pull_page", {name: b"\0\0\x09" + data for name, data in PAGES.items()})
    write("fuzz_pull_page", {"to_end_" + name: b"\0\0\x01" + PAGES[name] for name in
                             ("hole_end", "hole_then_zero", "streams")})
    write("fuzz_pull_page", {"into_hole": b"\1\1\x09" + PAGES["hole"],
                             "behind": b"\1\0\x09" + page(stored(2), stored(3, version=2))})
    write("fuzz_append", {name: packed(value) for name, value in APPENDS.items()})
    sessions = {name: packed([0, 7, *call]) for name, call in REQUESTS.items()}
    sessions |= {
        "append_" + name: packed([0, 8, "append", [value]]) for name, value in APPENDS.items()
    }
    sessions["credit"] = packed([2, "credit", [1, 10]])
    follow = [packed([0, 9, "subscribe", [{"stream": "s-1", "after": 0, "window": 1}]])]
    follow += [packed([2, "credit", [number, 10]]) for number in range(3)]
    sessions["credits"] = b"".join([sessions["append_plain"]] * 3 + follow)
    sessions["all_at_once"] = b"".join(sessions.values())
    write("fuzz_session", {name: b"\x05" + data for name, data in sessions.items()})


if __name__ == "__main__":
    main()
