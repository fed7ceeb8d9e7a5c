"""subscribe, credit, unsubscribe: in order, without gap or repeat, on any node."""

import socket
import time

from annal_rpc import ID, POSITION, VERSION, NoAnswer, event, packed
from case import OwnCase, SharedCase


class SubscribeTest(SharedCase):
    def setUp(self):
        super().setUp()
        self.stream = self.new_stream()

    def ids(self, events):
        return [e[ID] for e in events]

    def sent_ids(self, sent):
        return [e["id"] for e in sent]

    def assert_silent(self, subscription, seconds=0.5):
        """No event comes; other notifications may."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                method, params = subscription.next(timeout=seconds)
            except NoAnswer:
                return
            self.assertNotEqual(method, "events", params)

    def test_history_then_caught_up_then_live_on_every_node(self):
        answer, sent = self.append(self.client, self.stream, 5)
        subscriptions = [c.subscribe(stream=self.stream) for c in self.everywhere(answer["position"])]
        for subscription in subscriptions:
            events, position = subscription.until_caught_up()
            self.assertEqual(self.ids(events), self.sent_ids(sent))
            self.assertIsInstance(position, int)
        for _ in range(3):
            answer, sent = self.append(self.client, self.stream, 2)
            for subscription in subscriptions:
                events = subscription.events(2)
                self.assertEqual(self.ids(events), self.sent_ids(sent))
                self.assertEqual(events[-1][POSITION], answer["position"])

    def test_events_are_those_that_a_read_gives(self):
        self.append(self.client, self.stream, events=[event("T", b"d", metadata=b"m", tags=["x"])])
        events = self.client.subscribe(stream=self.stream).events(1)
        self.assertEqual(events, self.read(self.client, self.stream)["events"])

    def test_notification_names_the_position_of_its_last_event(self):
        self.append(self.client, self.stream, 3)
        for params in ({"stream": self.stream}, {"query": "all"}):
            subscription = self.client.subscribe(**params)
            method, (number, events, position) = subscription.next()
            self.assertEqual((method, number), ("events", subscription.number))
            self.assertEqual(position, events[-1][POSITION])

    def test_all_events(self):
        answer, _ = self.append(self.client, self.stream, 3)
        for node, connection in zip(
            self.cluster.nodes.values(), self.everywhere(answer["position"])
        ):
            expected = self.ids(self.cluster.read_all(node))
            events, _ = connection.subscribe(query="all").until_caught_up(30)
            self.assertEqual(self.ids(events), expected)

    def test_after_a_version(self):
        _, sent = self.append(self.client, self.stream, 5)
        for after in (0, 1, 4):
            events = self.client.subscribe(stream=self.stream, after=after).events(5 - after)
            self.assertEqual(self.ids(events), self.sent_ids(sent)[after:])

    def test_after_the_last_version_only_new_ones(self):
        self.append(self.client, self.stream, 5)
        subscription = self.client.subscribe(stream=self.stream, after=5)
        events, _ = subscription.until_caught_up()
        self.assertEqual(events, [])
        _, sent = self.append(self.client, self.stream, 1)
        self.assertEqual(self.ids(subscription.events(1)), self.sent_ids(sent))

    def test_after_a_position(self):
        answer, sent = self.append(self.client, self.stream, 5)
        subscription = self.client.subscribe(query="all", after=answer["position"] - 2)
        self.assertEqual(self.ids(subscription.events(2)), self.sent_ids(sent)[3:])

    def test_after_end_only_new_ones(self):
        answer, _ = self.append(self.client, self.stream, 5)
        for node in self.cluster.nodes.values():
            connection = self.connect(node)
            for params in ({"stream": self.stream}, {"query": "all"}):
                connection.call("read_all", {"consistency": {"at_least": answer["position"]}})
                subscription = connection.subscribe(after="end", **params)
                answer, sent = self.append(connection, self.stream, 2)
                self.assertEqual(self.ids(subscription.events(2)), self.sent_ids(sent))

    def test_stream_that_does_not_exist_yet(self):
        for node in self.cluster.nodes.values():
            stream = self.new_stream()
            subscription = self.connect(node).subscribe(stream=stream)
            events, _ = subscription.until_caught_up()
            self.assertEqual(events, [])
            _, sent = self.append(self.client, stream, 2)
            self.assertEqual(self.ids(subscription.events(2)), self.sent_ids(sent))

    def test_only_its_stream(self):
        subscription = self.client.subscribe(stream=self.stream)
        other = self.new_stream()
        self.append(self.client, other, 3)
        _, sent = self.append(self.client, self.stream, 1)
        self.append(self.client, other, 3)
        self.assertEqual(self.ids(subscription.events(1)), self.sent_ids(sent))
        self.assert_silent(subscription)

    def test_long_history_while_more_is_written(self):
        for _ in range(5):
            self.append(self.client, self.stream, 2000)
        subscription = self.connect(self.cluster[2]).subscribe(stream=self.stream)
        for _ in range(20):
            self.append(self.client, self.stream, 10)
        versions = [e[VERSION] for e in subscription.events(10200, timeout=30)]
        self.assertEqual(versions, list(range(1, 10201)))

    def test_many_subscriptions_on_one_connection(self):
        streams = [self.new_stream() for _ in range(1000)]
        connection = self.connect(self.cluster[3])
        requests = [connection.begin("subscribe", {"stream": stream}) for stream in streams]
        numbers = [request.wait(30)["subscription"] for request in requests]
        self.assertEqual(len(set(numbers)), 1000)
        for stream in streams[::100]:
            self.append(self.client, stream)
        for number, stream in list(zip(numbers, streams))[::100]:
            queue = connection._queue_of(number)
            method = None
            while method != "events":
                method, params = queue.get(timeout=20)
            self.assertEqual(params[1][0][4], stream)

    def test_two_subscriptions_of_one_stream(self):
        first = self.client.subscribe(stream=self.stream)
        second = self.client.subscribe(stream=self.stream)
        self.assertNotEqual(first.number, second.number)
        _, sent = self.append(self.client, self.stream, 2)
        for one in (first, second):
            self.assertEqual(self.ids(one.events(2)), self.sent_ids(sent))

    def test_unsubscribe(self):
        self.append(self.client, self.stream, 2)
        subscription = self.client.subscribe(stream=self.stream)
        subscription.until_caught_up()
        answer = subscription.unsubscribe()
        self.assertIsInstance(answer["position"], int)
        self.append(self.client, self.stream, 2)
        self.assert_silent(subscription)
        self.assert_error(
            "NOT_FOUND", self.client, "unsubscribe", {"subscription": subscription.number}
        )

    def test_unsubscribe_of_another_connections_subscription(self):
        subscription = self.client.subscribe(stream=self.stream)
        self.assert_error(
            "NOT_FOUND", self.connect(), "unsubscribe", {"subscription": subscription.number}
        )
        _, sent = self.append(self.client, self.stream, 1)
        self.assertEqual(self.ids(subscription.events(1)), self.sent_ids(sent))


class WindowTest(SharedCase):
    def take_until_silent(self, subscription):
        events = []
        while True:
            try:
                method, params = subscription.next(timeout=0.5)
            except NoAnswer:
                return events
            if method == "events":
                events += params[1]

    def test_no_more_than_was_allowed(self):
        for kind in ("history", "live"):
            with self.subTest(kind):
                stream = self.new_stream()
                if kind == "history":
                    self.append(self.client, stream, 50)
                subscription = self.client.subscribe(stream=stream, window=10)
                if kind == "live":
                    subscription.until_caught_up()
                    self.append(self.client, stream, 50)
                seen = self.take_until_silent(subscription)
                self.assertEqual([e[VERSION] for e in seen], list(range(1, 11)))
                subscription.credit(5)
                seen += subscription.events(5)
                self.assertEqual(self.take_until_silent(subscription), [])
                subscription.credit(1000)
                seen += subscription.events(35)
                self.assertEqual([e[VERSION] for e in seen], list(range(1, 51)))
                subscription.unsubscribe()

    def test_credit_for_nothing_is_ignored(self):
        self.client.notify("credit", [999999, 10])
        self.client.call("ping")


class SlowReaderTest(SharedCase):
    def test_it_slows_only_itself(self):
        stream = self.new_stream()
        before = self.leader.memory_bytes()
        self.subscribe_and_never_read(stream)
        fast = self.client.subscribe(stream=stream)
        writer = self.connect()
        for _ in range(40):
            self.append(writer, stream, events=[event(data=b"x" * 100000) for _ in range(10)])
        self.assertEqual(len(fast.events(400, timeout=30)), 400)
        self.assertLess(self.leader.memory_bytes() - before, 300 << 20)

    def subscribe_and_never_read(self, stream):
        host, port = self.leader.address.split(":")
        mute = socket.socket()
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mute.connect((host, int(port)))
        self.addCleanup(mute.close)
        mute.sendall(packed([0, 1, "subscribe", [{"stream": stream}]]))


class ResumeTest(OwnCase):
    def test_on_another_node_when_its_node_dies(self):
        stream = self.new_stream()
        writer = self.connect(self.cluster[2])
        _, sent = self.append(writer, stream, 20)
        subscription = self.connect(self.cluster[1]).subscribe(query="all")
        seen = subscription.events(20)
        self.cluster[1].kill()
        self.cluster.wait_writable(self.cluster[2])
        _, more = self.append(writer, stream, 20)
        resumed = self.connect(self.cluster[3]).subscribe(query="all", after=seen[-1][POSITION])
        seen += resumed.events(20)
        self.assertEqual([e[ID] for e in seen], [e["id"] for e in sent + more])

    def test_goes_on_through_an_election(self):
        stream = self.new_stream()
        leader = self.cluster.leader()
        follower = self.cluster.followers()[0]
        subscription = self.connect(follower).subscribe(stream=stream)
        writer = self.connect(follower)
        _, sent = self.append(writer, stream, 5)
        leader.kill()
        self.cluster.wait_writable(follower)
        _, more = self.append(writer, stream, 5)
        self.assertEqual([e[ID] for e in subscription.events(10)], [e["id"] for e in sent + more])
