"""append with conditions: an append fails when an event behind `after` matches (the DCB append condition)."""

import random
import threading

from annal_rpc import ID, POSITION, RpcError, event
from case import OwnCase, SharedCase


class Conditions(SharedCase):
    """Labels are drawn anew for each test: the cluster is shared."""

    def setUp(self):
        super().setUp()
        self.unique = self.new_stream("x").replace("-", "")

    def name(self, text):
        return f"{self.unique}.{text}"

    def store(self, type="T", tags=(), stream=None):
        """The position of one event."""
        one = event(self.name(type), tags=[self.name(tag) for tag in tags])
        return self.append(self.client, stream or self.new_stream("Cond"), events=[one])[0]["position"]

    def query(self, *items):
        named = []
        for item in items:
            whole = {part: [self.name(text) for text in item[part]] for part in ("types", "tags") if part in item}
            named.append({**item, **whole})
        return named

    def conditional(self, condition, **more):
        """The answer, or the error's fields."""
        params = {"stream": self.new_stream("Cond"), "events": [event()], "condition": condition, **more}
        try:
            return self.client.call("append", params)
        except RpcError as error:
            self.assertEqual(error.code, "CONDITION_FAILED", error.fields)
            return error.fields

    def assert_fails(self, condition, position, index=0, **more):
        answer = self.conditional(condition, **more)
        self.assertEqual((answer.get("code"), answer.get("index"), answer.get("position")),
                         ("CONDITION_FAILED", index, position))

    def assert_holds(self, condition, **more):
        self.assertNotIn("code", self.conditional(condition, **more))


class TruthTable(Conditions):
    def setUp(self):
        super().setUp()
        self.stream = self.new_stream("Cond" + self.unique)
        self.before = self.store("A", ["x"])
        self.first = self.store("A", ["x", "y"])
        self.second = self.store("B", ["y", "z"], self.stream)
        self.third = self.store("C", [])

    def check_rows(self):
        before, first, second, third = self.before, self.first, self.second, self.third
        category = "Cond" + self.unique
        # items, and where the first match lies behind after = 0, before, first, second, third
        return [
            ([{"types": ["A"]}], before, first, None, None, None),
            ([{"types": ["B"]}], second, second, second, None, None),
            ([{"types": ["A", "B"]}], before, first, second, None, None),
            ([{"types": ["D"]}], None, None, None, None, None),
            ([{"tags": ["x"]}], before, first, None, None, None),
            ([{"tags": ["y"]}], first, first, second, None, None),
            ([{"tags": ["x", "y"]}], first, first, None, None, None),
            ([{"tags": ["x", "z"]}], None, None, None, None, None),
            ([{"types": ["A"], "tags": ["y"]}], first, first, None, None, None),
            ([{"types": ["B"], "tags": ["x"]}], None, None, None, None, None),
            ([{"types": ["D"]}, {"tags": ["z"]}], second, second, second, None, None),
            ([{"types": ["C"]}, {"types": ["A"], "tags": ["y"]}], first, first, third, third, None),
            ([{"streams": [self.stream]}], second, second, second, None, None),
            ([{"categories": [category]}], second, second, second, None, None),
            ([{"categories": [category], "types": ["A"]}], None, None, None, None, None),
            ([{"stream_prefix": category}], second, second, second, None, None),
            ([{"stream_prefix": self.stream[:-1], "tags": ["y"]}], second, second, second, None, None),
        ]

    def test_by_type_by_tag_by_both_by_several(self):
        afters = (None, self.before, self.first, self.second, self.third)
        for items, *expected in self.check_rows():
            for after, position in zip(afters, expected):
                with self.subTest(items=items, after=after):
                    condition = {"fail_if": self.query(*items)}
                    if after is not None:
                        condition["after"] = after
                    if position is None:
                        self.assert_holds(condition)
                    else:
                        self.assert_fails(condition, position)

    def test_all(self):
        head = self.client.call("ping")["head"]
        self.assert_holds({"fail_if": "all", "after": head})
        self.assertEqual(self.conditional({"fail_if": "all", "after": head})["code"], "CONDITION_FAILED")

    def test_several_conditions(self):
        holds = {"fail_if": self.query({"types": ["D"]})}
        fails = {"fail_if": self.query({"tags": ["z"]})}
        self.assert_holds([holds, {**fails, "after": self.second}])
        self.assert_fails([holds, fails], self.second, index=1)
        self.assert_fails([fails, {"fail_if": self.query({"types": ["A"]})}], self.second, index=0)

    def test_expectations_come_first(self):
        fails = {"fail_if": self.query({"tags": ["z"]})}
        self.assert_error(
            "WRONG_EXPECTED_VERSION",
            self.client,
            "append",
            {"stream": self.stream, "expected_version": 9, "events": [event()], "condition": fails},
        )

    def test_what_was_stored_before_stays_stored(self):
        """An append whose own event would fail its condition: the retry is a duplicate."""
        one = event(self.name("Own"))
        params = {
            "stream": self.stream,
            "events": [one],
            "condition": {"fail_if": self.query({"types": ["Own"]})},
        }
        answer = self.client.call("append", params)
        self.assertEqual(self.client.call("append", params), {**answer, "duplicate": True})
        self.assert_error("CONDITION_FAILED", self.client, "append", {**params, "events": [event()]})

    def test_alone(self):
        holds = {"fail_if": self.query({"types": ["D"]})}
        fails = {"fail_if": self.query({"types": ["A"]})}
        check = [{"stream": self.stream, "expected_version": 1}]
        self.assertEqual(self.client.call("append", {"checks": check, "condition": holds})["versions"], {})
        self.assert_error("CONDITION_FAILED", self.client, "append", {"checks": check, "condition": fails})

    def test_the_events_that_were_not_seen(self):
        condition = {"fail_if": self.query({"tags": ["y"]}), "after": self.before}
        answer = self.conditional(condition, on_conflict="events")
        self.assertEqual([e[POSITION] for e in answer["events"]], [self.first, self.second])

    def test_malformed(self):
        good = {"types": [self.name("A")]}
        for name, condition in {
            "no query": {"after": 3},
            "empty query": {"fail_if": []},
            "item without parts": {"fail_if": [{}]},
            "item with an unknown part only": {"fail_if": [{"type": "A"}]},
            "a name that is no text": {"fail_if": [{"types": [1]}]},
            "no list": {"fail_if": [{"types": "A"}]},
            "after below zero": {"fail_if": [good], "after": -1},
            "none": [],
            "no map": 5,
            "some": "some",
        }.items():
            with self.subTest(name):
                params = {"stream": self.stream, "events": [event()], "condition": condition}
                answer = self.assert_error("INVALID_ARGUMENT", self.client, "append", params)
                self.assertIn("condition", answer["argument"])


class RaceTest(Conditions):
    WRITERS = 16
    ROUNDS = 12

    def race(self, params_of):
        """All writers at once through all nodes; their answers by number, None for a refused one."""
        nodes = list(self.cluster.nodes.values())
        connections = [self.connect(nodes[number % len(nodes)]) for number in range(self.WRITERS)]
        barrier = threading.Barrier(self.WRITERS)
        answers = [None] * self.WRITERS

        def write(number):
            barrier.wait()
            try:
                answers[number] = connections[number].call("append", params_of(number), 30)
            except RpcError as error:
                if error.code != "CONDITION_FAILED":
                    answers[number] = error

        threads = [threading.Thread(target=write, args=(number,)) for number in range(self.WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for connection in connections:
            connection.close()
        for answer in answers:
            self.assertNotIsInstance(answer, Exception)
        return [number for number, answer in enumerate(answers) if answer]

    def test_one_boundary_one_winner(self):
        for number in range(self.ROUNDS):
            tag = self.name(f"boundary{number}")
            condition = {"fail_if": [{"tags": [tag]}]}
            won = self.race(
                lambda writer: {
                    "stream": self.new_stream("Race"),
                    "events": [event(tags=[tag])],
                    "condition": condition,
                }
            )
            self.assertEqual(len(won), 1)
            count = self.client.call("count", {"query": [{"tags": [tag]}], "consistency": "linearizable"})
            self.assertEqual(count["count"], 1)

    def test_disjoint_boundaries_disturb_nobody(self):
        for number in range(3):
            won = self.race(
                lambda writer: {
                    "stream": self.new_stream("Race"),
                    "events": [event(tags=[self.name(f"own{number}.{writer}")])],
                    "condition": {"fail_if": [{"tags": [self.name(f"own{number}.{writer}")]}]},
                }
            )
            self.assertEqual(len(won), self.WRITERS)

    def test_a_type_and_a_tag_of_the_same_event(self):
        """Each writer's event would fail the other kind's condition: one wins."""
        for number in range(self.ROUNDS):
            kind, tag = self.name(f"Kind{number}"), self.name(f"tag{number}")
            by = [{"fail_if": [{"types": [kind]}]}, {"fail_if": [{"tags": [tag]}]}]
            won = self.race(
                lambda writer: {
                    "stream": self.new_stream("Race"),
                    "events": [event(kind, tags=[tag])],
                    "condition": by[writer % 2],
                }
            )
            self.assertEqual(len(won), 1)

    def test_after_moves_with_what_was_read(self):
        """Read, decide, append: each adds one; none is lost and none is written on an old view."""
        tag = self.name("counter")
        query = [{"tags": [tag]}]
        done = []

        def add(node):
            with node.connect() as connection:
                added = 0
                while added < 10:
                    page = connection.call("read_all", {"query": query, "consistency": "linearizable"}, 30)
                    last = page["events"][-1][POSITION] if page["events"] else 0
                    params = {
                        "stream": self.new_stream("Race"),
                        "events": [event(data=b"%d" % (len(page["events"]) + 1), tags=[tag])],
                        "condition": {"fail_if": query, "after": last},
                    }
                    try:
                        connection.call("append", params, 30)
                        added += 1
                    except RpcError as error:
                        if error.code != "CONDITION_FAILED":
                            raise
                done.append(added)

        nodes = list(self.cluster.nodes.values()) * 2
        threads = [threading.Thread(target=add, args=(node,)) for node in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sum(done), 10 * len(nodes))
        found = self.client.call("read_all", {"query": query, "consistency": "linearizable"})["events"]
        self.assertEqual([int(e[6]) for e in found], list(range(1, 10 * len(nodes) + 1)))


class RestartTest(OwnCase):
    """Tables, tail, leaders and logs change; what was decided does not."""

    def test_conditions_and_duplicates_outlive_everything(self):
        generator = random.Random(11)
        appends = []
        for number in range(40):
            params = {
                "writes": [
                    {"stream": f"Life-{number % 7}", "events": [event("Lived", tags=[f"n{number}"])]},
                    {"stream": f"Other-{number % 5}", "events": [event("Lived", tags=["all"])]},
                ],
                "condition": {"fail_if": [{"tags": [f"n{number}"]}]},
            }
            appends.append((params, self.cluster.leader().call("append", params)))
        for disturb in (self.kill_leader, self.restart_all):
            disturb()
            connection = self.connect(self.cluster.leader())
            for number in generator.sample(range(40), 20):
                params, answer = appends[number]
                self.assertEqual(connection.call("append", params, 30), {**answer, "duplicate": True})
                new = {**params, "writes": [{"stream": "Late-1", "events": [event()]}]}
                failed = self.assert_error("CONDITION_FAILED", connection, "append", new)
                self.assertEqual(failed["position"], answer["first_position"])
        found = connection.call("read_all", {"query": [{"tags": ["all"]}]})["events"]
        self.assertEqual(len(found), 40)
        self.assertEqual(len({e[ID] for e in found}), 40)

    def kill_leader(self):
        leader = self.cluster.leader()
        leader.kill()
        self.cluster.wait_writable()
        leader.restart()
        self.cluster.wait_writable()

    def restart_all(self):
        for node in self.cluster.nodes.values():
            node.stop()
        self.cluster.start()
        self.cluster.wait_writable()


class UnseenTest(Conditions):
    """The events that come with a refusal: those that match the condition that failed, behind its `after`."""

    def test_of_the_first_condition_that_fails(self):
        ours = [self.store(tags=["a"]) for _ in range(3)]
        self.store(tags=["b"])
        conditions = [
            {"fail_if": self.query({"tags": ["none"]})},
            {"fail_if": self.query({"tags": ["a"]}), "after": ours[0]},
            {"fail_if": self.query({"tags": ["b"]})},
        ]
        for node in self.cluster.nodes.values():
            params = {"stream": self.new_stream(), "events": [event()], "condition": conditions,
                      "on_conflict": "events"}
            answer = self.assert_error("CONDITION_FAILED", self.connect(node), "append", params)
            self.assertEqual((answer["index"], answer["position"]), (1, ours[1]))
            self.assertEqual([e[POSITION] for e in answer["events"]], ours[1:])

    def test_at_most_64_kib_the_oldest(self):
        stream = self.new_stream()
        big = [event(self.name("Big"), b"x" * 30000) for _ in range(5)]
        first = self.append(self.client, stream, events=big)[0]["first_position"]
        condition = {"fail_if": self.query({"types": ["Big"]})}
        answer = self.conditional(condition, on_conflict="events")
        self.assertEqual([e[POSITION] for e in answer["events"]], [first, first + 1])
        huge = [event(self.name("Huge"), b"x" * 70000)]
        self.append(self.client, stream, events=huge)
        answer = self.conditional({"fail_if": self.query({"types": ["Huge"]})}, on_conflict="events")
        self.assertEqual(answer["events"], [])

    def test_of_all_and_of_a_prefix(self):
        stream = self.new_stream("Pre")
        position = self.append(self.client, stream)[0]["position"]
        for query in ("all", [{"stream_prefix": stream[:-1]}], [{"streams": [stream]}]):
            answer = self.conditional({"fail_if": query, "after": position - 1}, on_conflict="events")
            self.assertEqual(answer["events"][0][POSITION], position)

    def test_no_events_unless_asked(self):
        self.store(tags=["a"])
        self.assertNotIn("events", self.conditional({"fail_if": self.query({"tags": ["a"]})}))


class FormTest(Conditions):
    def test_conditions_checks_and_a_checkpoint_go_with_one_stream(self):
        other = self.new_stream()
        self.append(self.client, other, 2)
        stream = self.new_stream()
        params = {
            "stream": stream, "events": [event(), event()],
            "checks": [{"stream": other, "expected_version": 2}],
            "condition": [{"fail_if": self.query({"tags": ["none"]})}],
            "checkpoint": {"consumer": stream, "position": 5, "if_position": 0},
        }
        answer = self.client.call("append", params)
        self.assertEqual((answer["first_version"], answer["version"]), (1, 2))
        self.assertEqual(answer["versions"], {stream: 2})
        self.assertEqual(self.client.call("append", params), {**answer, "duplicate": True})
        again = {**params, "events": [event()]}
        self.assert_error("CHECKPOINT_CONFLICT", self.client, "append", again, consumer=stream, position=5)

    def test_nothing_at_all(self):
        for params in ({}, {"writes": []}, {"checks": []}, {"writes": [], "checks": []}, {"condition": None}):
            with self.subTest(params=params):
                self.assert_error("INVALID_ARGUMENT", self.client, "append", params)

    def test_names_of_all_conditions_are_bounded(self):
        many = [{"fail_if": [{"tags": [f"t{n}" for n in range(600)]}]}] * 2
        params = {"stream": self.new_stream(), "events": [event()], "condition": many}
        answer = self.assert_error("INVALID_ARGUMENT", self.client, "append", params, argument="condition")
        self.assertIn("1024", answer["message"])
        self.client.call("append", {**params, "condition": many[:1]})
        params["condition"] = [{"fail_if": self.query({"tags": ["t"]})}] * 65
        self.assert_error("INVALID_ARGUMENT", self.client, "append", params, argument="condition")


class TooWideTest(OwnCase):
    nodes = 1

    def test_a_prefix_that_no_index_serves_is_bounded(self):
        with self.cluster.leader().connect() as connection:
            for number in range(7):
                batch = [{"type": "T", "data": b""} for _ in range(10000)]
                connection.call("append", {"stream": f"Wide{number}", "events": batch}, 30)
            head = connection.call("ping")["head"]
            self.assertEqual(head, 70000)
            params = {"stream": "W-1", "events": [event()]}
            wide = {"condition": {"fail_if": [{"stream_prefix": "Narrow"}]}}
            answer = self.assert_error("INVALID_ARGUMENT", connection, "append", {**params, **wide})
            self.assertEqual(answer["argument"], "condition")
            self.assertIn("narrow", answer["message"])
            wide["condition"]["after"] = head - 60000
            connection.call("append", {**params, **wide}, 30)
            found = {"condition": {"fail_if": [{"stream_prefix": "Wide6"}], "after": head - 20000}}
            params["events"] = [event()]
            answer = self.assert_error("CONDITION_FAILED", connection, "append", {**params, **found})
            self.assertEqual(answer["position"], 60001)
