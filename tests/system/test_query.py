"""Reads, counts, lists and subscriptions by query, on every node, against a model that looks at every
event; with tables and with what is in memory only, across restarts."""

import threading
import time
from collections import Counter

from annal_rpc import (
    CREATED, DATA, ID, POSITION, STREAM, TYPE, VERSION, ConnectionLost, NoAnswer, RpcError, event,
)
from case import OwnCase, SharedCase
from query_model import CATEGORIES, Log, Source, category_of, positions

FLUSH_SECONDS = 2.5  # after which what was appended is in the tables


def append_random(connection, source, log, appends):
    """Returns the last position."""
    last = 0
    for _ in range(appends):
        writes = source.writes()
        last = connection.call("append", {"writes": writes}, 30)["position"]
        log.sent |= {one["id"] for write in writes for one in write["events"]}
    return last


class QueryCase(OwnCase):
    def setUp(self):
        super().setUp()
        self.source = Source(self.id())
        self.log = Log()

    def grow(self, appends):
        """More events, through any node; the model knows them, and every node has them."""
        for _ in range(3):
            node = self.cluster[self.source.random.randint(1, 3)]
            last = append_random(self.connect(node), self.source, self.log, appends // 3)
        everyone = self.everywhere(last)
        self.assertTrue(self.log.follow(self.cluster, self.cluster[1]))
        return everyone

    def pages(self, connection, query, direction, start, limit):
        """(events, positions that end pages) of all pages."""
        found, params = [], {"query": query, "direction": direction, "limit": limit}
        if start is not None:
            params["from"] = start
        while True:
            page = connection.call("read_all", params, 30)
            self.assertLessEqual(len(page["events"]), limit)
            found += page["events"]
            if page["end"]:
                return found
            before = params.get("from")
            if before is not None:
                self.assertTrue(page["next"] > before if direction == "forward" else page["next"] < before)
            params["from"] = page["next"]

    def check_pages(self, connection, query):
        direction = self.source.random.choice(("forward", "backward"))
        head = self.log.events[-1][POSITION]
        start = self.source.random.choice((None, self.source.random.randint(1, head + 3)))
        limit = self.source.random.choice((1, 7, 100, 10000))
        expected = self.log.of(query)
        if direction == "backward":
            expected = [one for one in reversed(expected) if start is None or one[POSITION] <= start]
        else:
            expected = [one for one in expected if start is None or one[POSITION] >= start]
        found = self.pages(connection, query, direction, start, max(limit, len(expected) // 30))
        self.assertEqual(positions(found), positions(expected), (query, direction, start, limit))
        self.assertEqual(found, expected)

    def check_everything(self, everyone, queries):
        for _ in range(queries):
            query = self.source.query()
            for connection in everyone:
                self.check_pages(connection, query)
                answer = connection.call("count", {"query": query}, 30)
                self.assertEqual(answer["count"], len(self.log.of(query)), query)
                self.assertGreaterEqual(answer["head"], self.log.events[-1][POSITION])

    def names(self, connection, method, key, limit, **params):
        found, after = [], {}
        while True:
            page = connection.call(method, {"limit": limit, **params, **after})
            self.assertLessEqual(len(page[key]), limit)
            found += page[key]
            if page["end"]:
                self.assertIsNone(page["next"])
                return found
            self.assertEqual(page["next"], page[key][-1][0])
            after = {"after": page["next"]}

    def check_names(self, connection):
        versions, categories = {}, Counter()
        for one in self.log.events:
            versions[one[STREAM]] = one[VERSION]
            categories[category_of(one[STREAM])] += 1
        types = Counter(one[TYPE] for one in self.log.events)
        for method, key, expected in (
            ("stream_list", "streams", versions),
            ("category_list", "categories", categories),
            ("type_list", "types", types),
        ):
            for limit in (1, 3, 1000):
                for prefix in ("", "p", "Order", "x", "nothing"):
                    wanted = {name: n for name, n in expected.items() if name.startswith(prefix)}
                    found = self.names(connection, method, key, limit, prefix=prefix)
                    self.assertEqual({name: n for name, n in found}, wanted, (method, limit, prefix))
                    self.assertEqual(len(found), len(wanted), "a name came twice")
                    short = [name for name, _ in found if len(name.encode()) <= 400]
                    self.assertEqual(short, sorted(short, key=str.encode))
        for category in CATEGORIES:
            found = self.names(connection, "stream_list", "streams", 2, category=category)
            wanted = {name: n for name, n in versions.items() if category_of(name) == category}
            self.assertEqual({name: n for name, n in found}, wanted, category)


class RandomQueryTest(QueryCase):
    def test_every_node_gives_what_the_model_gives(self):
        everyone = self.grow(60)
        self.check_everything(everyone, 15)  # in memory
        time.sleep(FLUSH_SECONDS)
        self.check_everything(everyone, 15)  # in tables
        self.check_everything(self.grow(60), 15)  # both
        for node in self.cluster.nodes.values():
            self.check_names(self.connect(node))
        self.cluster[2].kill()
        self.cluster[2].restart()
        self.cluster.wait_converged()
        everyone = self.grow(30)
        self.check_everything(everyone, 25)
        for node in self.cluster.nodes.values():
            self.check_names(self.connect(node))


class Follower(threading.Thread):
    """Follows a query from a position on, from node to node, as a consumer would."""

    def __init__(self, cluster, query, after, source):
        super().__init__(daemon=True)
        self.cluster, self.query, self.source = cluster, query, source
        self.position = after
        self.found = []
        self.live = 0
        self.ended = threading.Event()
        self.problem = None

    def run(self):
        try:
            while not self.ended.is_set():
                try:
                    self._follow(self.cluster[self.source.random.randint(1, self.cluster.size)])
                except (OSError, ConnectionLost, RpcError):
                    time.sleep(0.05)
        except Exception as problem:  # the test shows it
            self.problem = problem

    def _follow(self, node):
        window = self.source.random.choice((None, 5, 50))
        params = {"query": self.query, "after": self.position, "batch": self.source.random.choice((1, 10, 500))}
        if window:
            params["window"] = window
        turns = self.source.random.randint(5, 200)
        with node.connect() as connection:
            subscription = connection.subscribe(**params)
            while not self.ended.is_set() and turns > 0:
                turns -= 1
                try:
                    method, rest = subscription.next(0.2)
                except NoAnswer:
                    continue
                if method == "events":
                    self.found += rest[1]
                    if window:
                        subscription.credit(len(rest[1]))
                    if positions(rest[1])[-1] != rest[2]:
                        raise AssertionError(f"{rest[2]} is not the position of the last event")
                elif method == "dropped":
                    raise RpcError(rest[1])
                elif method == "caught_up":
                    self.live += 1
                if rest[-1] < self.position:
                    raise AssertionError(f"{method} goes back from {self.position} to {rest[-1]}")
                self.position = rest[-1]


class QuerySubscriptionTest(QueryCase):
    def test_from_anywhere_while_nodes_restart(self):
        self.grow(45)
        time.sleep(FLUSH_SECONDS)
        self.grow(15)
        head = self.log.events[-1][POSITION]
        followers = []
        for number in range(24):
            after = self.source.random.choice((0, self.source.random.randint(0, head), head))
            followers.append(
                Follower(self.cluster, self.source.query(), after, Source(f"{self.id()} {number}"))
            )
        starts = [follower.position for follower in followers]
        for follower in followers:
            follower.start()
        for number in (1, 2, 3):
            self.grow_slowly(20)
            self.cluster[number].kill()
            self.grow_slowly(10)
            self.cluster[number].restart()
        self.cluster.wait_converged()
        self.grow(15)
        self.wait_for(followers, starts)
        for follower, start in zip(followers, starts):
            expected = [one for one in self.log.of(follower.query) if one[POSITION] > start]
            self.assertIsNone(follower.problem)
            self.assertEqual(positions(follower.found), positions(expected), follower.query)
            self.assertEqual(follower.found, expected)
            self.assertGreater(follower.live, 0)

    def grow_slowly(self, appends):
        for _ in range(appends):
            while True:
                node = self.source.random.choice(self.cluster.running())
                try:
                    with node.connect() as connection:
                        append_random(connection, self.source, self.log, 1)
                    break
                except (OSError, ConnectionLost, NoAnswer, RpcError):
                    time.sleep(0.1)

    def wait_for(self, followers, starts):
        deadline = time.monotonic() + 60
        for follower, start in zip(followers, starts):
            wanted = sum(one[POSITION] > start for one in self.log.of(follower.query))
            while len(follower.found) < wanted and follower.problem is None and time.monotonic() < deadline:
                time.sleep(0.05)
        time.sleep(0.5)  # for what should not come
        for follower in followers:
            follower.ended.set()
        for follower in followers:
            follower.join(10)


class CheckpointTest(SharedCase):
    def test_who_sees_nothing_learns_how_far_the_log_is(self):
        for node in self.cluster.nodes.values():
            subscription = self.connect(node).subscribe(query=[{"types": ["no such type"]}])
            subscription.until_caught_up()
            answer, _ = self.append(self.client, self.new_stream())
            begin = time.monotonic()
            while True:
                method, params = subscription.next(5)
                self.assertEqual(method, "checkpoint")
                if params[1] >= answer["position"]:
                    break
            self.assertLess(time.monotonic() - begin, 10)

    def test_a_log_at_rest_is_no_news(self):
        subscription = self.connect().subscribe(query=[{"types": ["no such type"]}], after="end")
        subscription.until_caught_up()
        with self.assertRaises(NoAnswer):
            subscription.next(2.5)

    def test_resuming_after_a_checkpoint_misses_nothing(self):
        mark = self.new_stream()
        query = [{"streams": [mark]}]
        subscription = self.connect().subscribe(query=query, after="end")
        _, position = subscription.until_caught_up()
        self.append(self.client, self.new_stream(), 5)
        method, (_, position) = subscription.next(5)
        self.assertEqual(method, "checkpoint")
        subscription.unsubscribe()
        _, sent = self.append(self.client, mark, 3)
        for connection in self.everywhere(self.client.call("ping")["head"]):
            found, _ = connection.subscribe(query=query, after=position).until_caught_up()
            self.assertEqual([one[ID] for one in found], [one["id"] for one in sent])


class QuerySubscribeTest(SharedCase):
    def test_a_window_holds_a_query_too(self):
        tag = self.new_stream()
        subscription = self.client.subscribe(query=[{"tags": [tag]}], window=2)
        subscription.until_caught_up()
        for _ in range(5):
            self.append(self.client, self.new_stream(), events=[event(tags=[tag])])
        self.assertEqual(len(subscription.events(2)), 2)
        method, _ = subscription.next()
        self.assertEqual(method, "fell_behind")
        subscription.credit(10)
        found, _ = subscription.until_caught_up()
        self.assertEqual(len(found), 3)

    def test_an_event_that_several_items_match_comes_once(self):
        tag, stream = self.new_stream(), self.new_stream()
        query = [{"tags": [tag]}, {"streams": [stream]}, {"types": ["happened"], "tags": [tag]}]
        live = self.client.subscribe(query=query)
        live.until_caught_up()
        _, sent = self.append(self.client, stream, events=[event(tags=[tag]) for _ in range(3)])
        self.assertEqual([one[ID] for one in live.events(3)], [one["id"] for one in sent])
        history, _ = self.client.subscribe(query=query).until_caught_up()
        self.assertEqual([one[ID] for one in history], [one["id"] for one in sent])

    def test_system_records_match_no_item(self):
        consumer = self.new_stream()
        self.client.call("checkpoint_put", {"consumer": consumer, "position": 1})
        query = [{"types": ["$checkpoint"]}]
        page = self.client.call("read_all", {"query": query, "system": True})
        self.assertEqual((page["events"], page["end"]), ([], True))
        found, _ = self.client.subscribe(query=query, system=True).until_caught_up()
        self.assertEqual(found, [])


class LoadTest(SharedCase):
    def test_without_a_snapshot(self):
        stream = self.new_stream()
        answer, sent = self.append(self.client, stream, 5)
        for connection in self.everywhere(answer["position"]):
            loaded = connection.call("load", {"stream": stream})
            self.assertIsNone(loaded["snapshot"])
            self.assertEqual([one[ID] for one in loaded["events"]], [one["id"] for one in sent])
            self.assertEqual((loaded["version"], loaded["end"], loaded["next"]), (5, True, 6))

    def test_with_a_snapshot(self):
        stream = self.new_stream()
        _, sent = self.append(self.client, stream, 10)
        self.client.call("snapshot_put", {"stream": stream, "version": 7, "type": "sum", "data": b"7"})
        position = self.client.call("ping")["head"]
        for connection in self.everywhere(position):
            loaded = connection.call("load", {"stream": stream})
            self.assertEqual(
                {key: loaded["snapshot"][key] for key in ("version", "type", "data")},
                {"version": 7, "type": "sum", "data": b"7"},
            )
            self.assertEqual([one[ID] for one in loaded["events"]], [one["id"] for one in sent[7:]])
            self.assertEqual((loaded["version"], loaded["end"]), (10, True))
            self.assertGreaterEqual(loaded["head"], position)
        self.client.call("snapshot_put", {"stream": stream, "version": 10, "data": b"10"})
        loaded = self.client.call("load", {"stream": stream})
        self.assertEqual((loaded["snapshot"]["version"], loaded["events"]), (10, []))
        self.client.call("snapshot_delete", {"stream": stream})
        loaded = self.client.call("load", {"stream": stream})
        self.assertIsNone(loaded["snapshot"])
        self.assertEqual(len(loaded["events"]), 10)

    def test_events_that_do_not_fit_one_page(self):
        stream = self.new_stream()
        _, sent = self.append(self.client, stream, 10)
        self.client.call("snapshot_put", {"stream": stream, "version": 2, "data": b""})
        loaded = self.client.call("load", {"stream": stream, "limit": 3})
        self.assertEqual([one[VERSION] for one in loaded["events"]], [3, 4, 5])
        self.assertEqual((loaded["next"], loaded["end"], loaded["version"]), (6, False, 10))
        rest = self.read(self.client, stream, **{"from": loaded["next"]})
        self.assertEqual([one[ID] for one in rest["events"]], [one["id"] for one in sent[5:]])

    def test_a_large_snapshot_and_large_events(self):
        stream, large = self.new_stream(), (4 << 20) - 2000
        self.append(self.client, stream, events=[event(data=b"a" * large)])
        self.append(self.client, stream, events=[event(data=b"b" * large)])
        self.client.call("snapshot_put", {"stream": stream, "version": 1, "data": b"s" * large}, 30)
        loaded = self.client.call("load", {"stream": stream}, 30)
        self.assertEqual(len(loaded["snapshot"]["data"]), large)
        self.assertEqual([one[DATA][:1] for one in loaded["events"]], [b"b"])

    def test_a_stream_that_never_was(self):
        stream = self.new_stream()
        self.assert_error("STREAM_NOT_FOUND", self.client, "load", {"stream": stream}, stream=stream)
        self.assert_error("INVALID_ARGUMENT", self.client, "load", argument="stream")


class NumbersTest(SharedCase):
    def test_position_at(self):
        stream = self.new_stream()
        first, _ = self.append(self.client, stream)
        second, _ = self.append(self.client, stream)
        for connection in self.everywhere(second["position"]):
            for time_ns, expected in ((first["created"], first["position"]), (0, 1), (-5, 1)):
                answer = connection.call("position_at", {"time": time_ns})
                self.assertLessEqual(answer["position"], expected)
                found = connection.call("read_all", {"from": answer["position"], "limit": 1, "system": True})
                self.assertGreaterEqual(found["events"][0][CREATED], time_ns)
            answer = connection.call("position_at", {"time": 2**62})
            self.assertEqual(answer["position"], answer["head"] + 1)
        for wrong in (None, "now", 1.5, 2**63):
            self.assert_error("INVALID_ARGUMENT", self.client, "position_at", {"time": wrong}, argument="time")

    def test_count_is_given_up_in_time(self):
        begin = time.monotonic()
        try:
            self.client.call("count", {"query": [{"stream_prefix": "n"}], "timeout_ms": 1}, 5)
        except RpcError as error:
            self.assertEqual((error.code, error.fields["outcome"]), ("TIMEOUT", "none"))
        self.assertLess(time.monotonic() - begin, 4)  # without timeout_ms it would be five

    def test_lists_want_right_arguments(self):
        for method in ("stream_list", "category_list", "type_list"):
            for name, wrong in (("limit", 0), ("limit", 10001), ("prefix", 5), ("after", "x" * 2000)):
                with self.subTest(method=method, argument=name):
                    self.assert_error("INVALID_ARGUMENT", self.client, method, {name: wrong}, argument=name)

    def test_system_streams_come_with_their_prefix_alone(self):
        consumer = self.new_stream()
        self.client.call("checkpoint_put", {"consumer": consumer, "position": 1})
        wanted = "$checkpoint-" + consumer
        names = [name for name, _ in self.client.call("stream_list", {"prefix": wanted})["streams"]]
        self.assertEqual(names, [wanted])
        page = self.client.call("stream_list", {"limit": 10000})
        self.assertFalse([name for name, _ in page["streams"] if name.startswith("$")])
