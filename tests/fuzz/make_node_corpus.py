#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets of node/ (tests/fuzz/corpus/fuzz_session, fuzz_append)."""

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
    "unsubscribe": ("unsubscribe", [{"subscription": 1}]),
    "unknown": ("no_such_method", [{}]),
    "bad_params": ("ping", [1, 2]),
}


def main():
    write("fuzz_append", {name: packed(value) for name, value in APPENDS.items()})
    sessions = {name: packed([0, 7, *call]) for name, call in REQUESTS.items()}
    sessions |= {
        "append_" + name: packed([0, 8, "append", [value]]) for name, value in APPENDS.items()
    }
    sessions["credit"] = packed([2, "credit", [1, 10]])
    sessions["all_at_once"] = b"".join(sessions.values())
    write("fuzz_session", {name: b"\x05" + data for name, data in sessions.items()})


if __name__ == "__main__":
    main()
