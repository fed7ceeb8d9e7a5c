"""Bytes and arguments that no good client sends: a clear error, or the end of that connection, and
nothing else on the node notices."""

import os
import random
import socket
import time

import msgpack

from annal_rpc import ConnectionLost, RpcError, event, packed
from case import SharedCase

KIB, MIB = 1 << 10, 1 << 20
MEMORY_SLACK = 64 * MIB
MUTES = 3  # clients that never read
MUTE_BYTES = 48 * MIB  # what each may hold: the out-queue, and pages on their way to it
MANY_MUTES = 80
MANY_MUTES_BYTES = 800 * MIB  # LIMIT_NODE_UNSENT_BYTES, LIMIT_NODE_READ_BYTES, and what is copied


def nested(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


class BadInputCase(SharedCase):
    """Around each test: another client is served all along, and memory stays flat."""

    def setUp(self):
        super().setUp()
        self.bystander = self.connect(self.leader)
        self.bystander.call("ping")
        self.memory_before = self.leader.memory_bytes()

    def assert_unharmed(self, memory_slack=MEMORY_SLACK):
        self.bystander.call("ping")
        stream = self.new_stream()
        self.append(self.bystander, stream)
        self.assertEqual(self.read(self.bystander, stream)["version"], 1)
        grown = self.leader.memory_bytes() - self.memory_before
        self.assertLess(grown, memory_slack, "memory of the node grew")

    def send_bytes(self, data):
        """A new connection with these bytes sent."""
        connection = self.connect(self.leader)
        try:
            connection.send_raw(data)
        except ConnectionLost:
            pass  # it was closed on the way: what the caller looks for
        return connection

    def assert_closed_with_error(self, data, timeout=30):
        connection = self.send_bytes(data)
        self.assertTrue(connection.wait_lost(timeout), "the node kept the connection open")
        method, params = connection.notifications.get_nowait() or ("nothing", None)
        self.assertEqual(method, "error")
        self.assertEqual(len(params), 1)
        self.assertIsInstance(params[0]["code"], str)
        self.assertTrue(params[0]["message"])
        return params[0]


class BytesTest(BadInputCase):
    def test_what_is_no_message_ends_the_connection(self):
        cases = {
            "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "the byte that begins nothing": b"\xc1",
            "a number": b"\x05",
            "a map": packed({"method": "ping"}),
            "an empty array": packed([]),
            "an unknown kind": packed([7, 1, "ping", [{}]]),
            "a negative kind": packed([-1, 1, "ping", [{}]]),
            "a request that is too short": packed([0, 1, "ping"]),
            "a request that is too long": packed([0, 1, "ping", [{}], 1]),
            "a msgid of text": packed([0, "1", "ping", [{}]]),
            "a msgid below zero": packed([0, -1, "ping", [{}]]),
            "a msgid beyond 32 bits": packed([0, 1 << 32, "ping", [{}]]),
            "a method that is a number": packed([0, 1, 5, [{}]]),
            "params that are a map": packed([0, 1, "ping", {}]),
            "params that are nil": packed([0, 1, "ping", None]),
            "a notification that is too short": packed([2, "credit"]),
        }
        for name, data in cases.items():
            with self.subTest(name):
                self.assert_closed_with_error(data)
        self.assert_unharmed()

    def test_depth(self):
        with self.subTest("16 levels are fine"):
            connection = self.send_bytes(packed([0, 1, "ping", [{"x": nested(13)}]]))
            self.assertIn("role", connection.call("ping"))
        for levels in (14, 100, 100000):
            with self.subTest(levels=levels + 3):
                head = packed([0, 1, "ping"])[1:]
                data = b"\x94" + head + b"\x91\x81\xa1x" + b"\x91" * levels + b"\x00"
                self.assert_closed_with_error(data)
        self.assert_unharmed()

    def test_lying_lengths(self):
        request = b"\x94\x00\x01\xa4ping\x91\x81\xa1x"
        for name, data in {
            "array of 4 G": b"\xdd\xff\xff\xff\xff",
            "map of 4 G": b"\xdf\xff\xff\xff\xff",
            "str of 4 G": b"\xdb\xff\xff\xff\xff",
            "bin of 4 G": b"\xc6\xff\xff\xff\xff",
            "ext of 4 G": b"\xc9\xff\xff\xff\xff\x01",
            "array of 4 G in a request": request + b"\xdd\xff\xff\xff\xff",
            "map of 4 G in a request": request + b"\xdf\xff\xff\xff\xff",
            "str of 4 G in a request": request + b"\xdb\xff\xff\xff\xff",
            "bin of 17 M in a request": request + b"\xc6\x01\x10\x00\x00",
            "arrays in arrays of 16 M": request + b"\xdd\x00\xff\xff\x00" * 8,
        }.items():
            with self.subTest(name):
                self.assert_closed_with_error(data)
        self.assert_unharmed()

    def test_counts_that_promise_more_events_than_come(self):
        for count in (b"\xdc\xff\xff", b"\xdd\x00\x0f\xff\xff"):
            data = b"\x94\x00\x01\xa6append\x91\x82\xa6stream\xa1x\xa6events" + count
            connections = [self.send_bytes(data) for _ in range(50)]
            self.assert_unharmed()
            for connection in connections:
                connection.close()

    def test_message_over_its_limit(self):
        data = packed([0, 1, "append", [{"stream": "x", "events": [event(data=b"x" * (17 * MIB))]}]])
        self.assert_closed_with_error(data)
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "x"})
        self.assert_unharmed()

    def test_half_a_message_then_silence(self):
        whole = packed([0, 1, "append", [{"stream": "half", "events": [event(data=b"x" * 1000)]}]])
        connections = [self.send_bytes(whole[:cut]) for cut in (1, 10, len(whole) // 2, len(whole) - 1)]
        for connection in connections:
            self.assertTrue(connection.wait_lost(30), "half a message was waited for without end")
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "half"})
        self.assert_unharmed()

    def test_message_that_comes_byte_by_byte(self):
        connection = self.connect(self.leader)
        answer = connection.expect(77)
        for byte in packed([0, 77, "ping", [{}]]):
            connection.send_raw(bytes([byte]))
        self.assertIn("role", answer.wait(10))

    def test_half_a_message_then_the_end(self):
        for _ in range(100):
            self.send_bytes(packed([0, 1, "append", [{"stream": "x", "events": []}]])[:-3]).close()
        self.assert_unharmed()

    def test_random_bytes(self):
        for seed in range(60):
            data = random.Random(seed).randbytes(2000)
            self.send_bytes(data).close()
        self.assert_unharmed()

    def test_damaged_requests(self):
        """Each damaged message is answered, refused or cut off; none takes the node down."""
        whole = packed(
            [0, 1, "append", [{"stream": "damaged", "events": [event(tags=["a"]) for _ in range(3)],
                               "expected_version": "any"}]]
        )
        for seed in range(300):
            chance = random.Random(seed)
            data = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            self.send_bytes(bytes(data)).close()
        self.assert_unharmed()

    def test_empty_connections(self):
        connections = [self.connect() for _ in range(200)]
        self.assert_unharmed()
        for connection in connections:
            connection.close()


class NeverReadsTest(BadInputCase):
    def test_client_that_never_reads_its_answers(self):
        stream = self.new_stream()
        self.append(self.client, stream, events=[event(data=b"x" * 10000) for _ in range(100)])
        self.memory_before = self.leader.memory_bytes()
        host, port = self.leader.address.split(":")
        mutes = []
        for _ in range(MUTES):
            mute = socket.create_connection((host, int(port)), timeout=5)
            self.addCleanup(mute.close)
            mute.setblocking(False)
            mutes.append(mute)
        request = packed([0, 1, "read_stream", [{"stream": stream}]])
        for mute in mutes:
            self.push(mute, request * 20000)
        time.sleep(1)
        self.assert_unharmed(MUTES * MUTE_BYTES)

    def test_many_clients_that_ask_for_large_pages_and_never_read(self):
        """What one connection may hold does not multiply: the node has a bound of its own."""
        for _ in range(20):
            self.append(self.client, self.new_stream(), events=[event(data=b"x" * MIB)])
        self.memory_before = self.leader.memory_bytes()
        host, port = self.leader.address.split(":")
        request = packed([0, 1, "read_all", [{"max_bytes": 16 * MIB, "limit": 10000}]])
        for _ in range(MANY_MUTES):
            mute = socket.create_connection((host, int(port)), timeout=5)
            self.addCleanup(mute.close)
            mute.sendall(request * 4)
        peak = 0
        for _ in range(20):
            time.sleep(0.1)
            peak = max(peak, self.leader.memory_bytes() - self.memory_before)
        self.assertLess(peak, MANY_MUTES_BYTES, "memory of the node grew")
        self.assert_unharmed(MANY_MUTES_BYTES)

    def push(self, mute, data):
        """As much as the node takes within two seconds."""
        deadline = time.monotonic() + 2
        sent = 0
        while sent < len(data) and time.monotonic() < deadline:
            try:
                sent += mute.send(data[sent:])
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                return


class ArgumentsTest(BadInputCase):
    """Wrong arguments are refused by name, and the connection goes on."""

    def check(self, method, cases):
        """cases: (params, argument that the error names)"""
        for params, argument in cases:
            with self.subTest(method=method, params=repr(params)[:80]):
                try:
                    self.client.call(method, params, 15)
                except RpcError as error:
                    self.assertEqual(error.code, "INVALID_ARGUMENT", error.fields)
                    # It may say more: `writes[0].events[3].type`.
                    self.assertIn(argument, error.fields.get("argument"), error.fields)
                    self.assertTrue(error.fields["message"])
                else:
                    self.fail("it was accepted")
        self.client.call("ping")

    BAD_STREAMS = (
        None, 5, b"bytes", [], {}, "", "a" * 1025, "é" * 513, "$mine", "$", "tab\there", "nul\0",
        "line\n", "\x7fdel", "\udcff\udcfe", "x\udc80",
    )

    def test_stream_names(self):
        for method, more in (
            ("append", {"events": [event()]}),
            ("read_stream", {}),
            ("stream_info", {}),
            ("subscribe", {}),
        ):
            streams = self.BAD_STREAMS if method == "append" else self.BAD_STREAMS[1:8]
            self.check(method, [({"stream": stream, **more}, "stream") for stream in streams])
        self.check("append", [({"events": [event()]}, "stream")])
        self.check("read_stream", [({}, "stream")])

    def test_stream_names_in_writes(self):
        for stream in self.BAD_STREAMS:
            params = {"writes": [{"stream": stream, "events": [event()]}]}
            self.check("append", [(params, "stream")])

    def test_events(self):
        bad = [None, 5, "x", {}, []]
        self.check("append", [({"stream": "bad", "events": events}, "events") for events in bad])
        self.check("append", [({"stream": "bad"}, "events")])
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "bad"})

    def test_what_is_in_an_event(self):
        def one(**fields):
            made = {**event(), **fields}
            return {"stream": "bad", "events": [{k: v for k, v in made.items() if v != "absent"}]}

        self.check("append", [({"stream": "bad", "events": [5]}, "events")])
        for name, values in {
            "type": ["absent", None, 5, b"b", "", "T" * 256, "\udcff"],
            "data": [5, 1.5, True, [], {}],
            "metadata": [5, [], {}],
            "id": [5, b"", b"short", b"x" * 15, b"x" * 17, "0123456789abcdef", []],
            "tags": [5, "a", {}, [5], [""], ["t" * 256], ["\udcff"], [str(n) for n in range(33)]],
        }.items():
            self.check("append", [(one(**{name: value}), name) for value in values])
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "bad"})

    def test_one_bad_event_among_good_ones_writes_nothing(self):
        events = [event() for _ in range(5)] + [event(type="")] + [event() for _ in range(5)]
        self.check("append", [({"stream": "bad", "events": events}, "type")])
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "bad"})

    def test_expected_version(self):
        bad = [-1, 1.5, "none", "", [], {}, True, b"any"]
        self.check(
            "append",
            [({"stream": "bad", "events": [event()], "expected_version": e}, "expected_version")
             for e in bad],
        )
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "bad"})

    def test_writes_and_checks(self):
        good = [{"stream": "bad", "events": [event()]}]
        self.check("append", [({"writes": w}, "writes") for w in (5, "x", {}, [], [5], ["x"])])
        self.check("append", [({"writes": good, "checks": c}, "checks") for c in (5, "x", {}, [5])])
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "bad"})

    def test_other_arguments_of_append(self):
        for name, values in {
            "on_conflict": [5, "nothing", []],
            "forward": [5, "no", []],
            "timeout_ms": ["soon", -5, 1.5, []],
        }.items():
            self.check(
                "append",
                [({"stream": "bad", "events": [event()], name: value}, name) for value in values],
            )
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": "bad"})

    def test_nil_is_an_argument_left_out(self):
        stream = self.new_stream()
        sent = event(id=os.urandom(16), metadata=None, tags=None)
        nothing = dict.fromkeys(("expected_version", "on_conflict", "timeout_ms", "writes", "checks"))
        self.client.call("append", {"stream": stream, "events": [sent], **nothing})
        nothing = dict.fromkeys(("from", "direction", "limit", "max_bytes", "consistency"))
        self.assertEqual(self.read(self.client, stream, **nothing)["version"], 1)

    def test_too_many_pairs(self):
        many = {f"key {number}": 0 for number in range(65)}
        self.check("ping", [(many, "params")])
        self.check("append", [({"stream": "bad", "events": [{**event(), **many}]}, "events[0]")])

    def test_reads(self):
        stream = self.new_stream()
        self.append(self.client, stream)
        for method, params in (("read_stream", {"stream": stream}), ("read_all", {})):
            for name, values in {
                "from": ["1", -1, 1.5, [], {}],
                "direction": [5, "up", "", []],
                "limit": [0, -1, 10001, "5", 1.5],
                "max_bytes": [-1, "5", []],
                "consistency": [5, "strong", [], {}, {"at_least": "1"}, {"at_least": -1}],
                "timeout_ms": ["soon", -5, []],
            }.items():
                self.check(method, [({**params, name: value}, name) for value in values])
        self.check("read_all", [({"system": value}, "system") for value in (5, "yes", [])])
        self.check("read_all", [({"query": value}, "query") for value in (5, "some", [], {})])

    def test_read_event(self):
        self.check("read_event", [({"position": v}, "position") for v in ("1", -1, 1.5, [])])
        self.check("read_event", [({"id": v}, "id") for v in ("x" * 16, b"short", 5, [])])
        self.check("read_event", [({"stream": "x", "version": v}, "version") for v in ("1", -1, [])])

    def test_subscriptions(self):
        self.check("subscribe", [({"query": v}, "query") for v in (5, "some", [], {})])
        for name, values in {
            "after": [-1, "start", 1.5, []],
            "window": [-1, "5", 1.5, []],
            "batch": [-1, "5", []],
        }.items():
            self.check("subscribe", [({"stream": "x", name: value}, name) for value in values])
        self.check("unsubscribe", [({"subscription": v}, "subscription") for v in ("1", -1, [])])
        self.check("unsubscribe", [({}, "subscription")])

    def test_digest(self):
        self.check("digest", [({"position": v}, "position") for v in ("1", -1, [])])

    def test_notifications_with_bad_params_end_that_connection_at_most(self):
        for params in ([], [1], ["x", "y"], [1, -5], [1, 2, 3], [{}, {}]):
            connection = self.connect(self.leader)
            connection.notify("credit", params)
            try:
                connection.call("ping")
            except ConnectionLost:
                pass
        connection = self.connect(self.leader)
        connection.notify("no_such_notification", [1])
        self.assertIn("role", connection.call("ping"))
        self.assert_unharmed()


class MemoryTest(BadInputCase):
    def test_refusals_and_broken_connections_leave_nothing_behind(self):
        self.round()
        self.memory_before = self.leader.memory_bytes()
        for _ in range(10):
            self.round()
        self.assert_unharmed()

    def round(self):
        big = msgpack.packb([0, 1, "append", [{"stream": "", "events": [event(data=os.urandom(MIB))]}]])
        for cut in range(10):
            self.send_bytes(big[: len(big) - cut * 100 * KIB]).close()
        for _ in range(50):
            connection = self.connect(self.leader)
            connection.begin("subscribe", {"query": "all"})
            connection.begin("read_all", {"limit": 10000})
            connection.close()
