"""Members that come and go while clients append, with the checker at the end; standbys; ids used twice."""

import random
import time

import checker
from annal_rpc import ConnectionLost, NoAnswer, RpcError, event
from test_cluster_life import SMALL_LOG, LifeCase
from workload import CALM_SECONDS, Client, World, fingerprint


class GrowTest(LifeCase):
    settings = SMALL_LOG

    def add(self, number, role="voter"):
        node = self.cluster.add(number)
        params = {"id": number, "peer_address": node.peer_address,
                  "client_address": node.address, "role": role}
        self.change("cluster_add", params)
        self.wait_role(number, role)
        return node

    def change(self, method, params):
        """As an operator does: asked again while another one leads or the log does not come to rest."""
        deadline = time.monotonic() + 90
        while True:
            try:
                return self.cluster.leader().call(method, {**params, "timeout_ms": 20000}, 25)
            except (OSError, ConnectionLost, NoAnswer, RpcError) as error:
                if isinstance(error, RpcError) and error.code == "NOT_FOUND":
                    return None
                if isinstance(error, RpcError) and error.fields.get("outcome") == "unknown":
                    return None
                if isinstance(error, RpcError) and error.code == "INVALID_ARGUMENT":
                    raise
                self.assertLess(time.monotonic(), deadline, f"{method} {params}: {error}")
                time.sleep(0.3)

    def remove(self, number):
        deadline = time.monotonic() + 90
        while number in self.member_ids():
            self.change("cluster_remove", {"id": number})
            self.assertLess(time.monotonic(), deadline)
        del self.cluster.nodes[number]

    def member_ids(self):
        return sorted(n["id"] for n in self.cluster_call("cluster_status", {})["nodes"])

    def test_three_to_five_to_three_under_load(self):
        world = World(self.cluster, random.randrange(1 << 32))
        clients = [Client(world, number) for number in range(3)]
        for client in clients:
            client.start()
        try:
            self.add(4)
            self.add(5)
            first = self.cluster.leader().number
            self.remove(first)
            self.remove(next(n for n in self.cluster.nodes if n != self.cluster.leader().number))
            self.assertEqual(len(self.member_ids()), 3)
            before = world.counts["ok"]
            time.sleep(2)
            self.assertGreater(world.counts["ok"], before, "nothing is acknowledged any more")
        finally:
            world.stop_clients.set()
        for client in clients:
            client.join(60)
        self.cluster.wait_writable(timeout=CALM_SECONDS)
        self.cluster.wait_converged(timeout=CALM_SECONDS)
        logs = {n: self.cluster.read_all(node, system=True) for n, node in self.cluster.nodes.items()}
        answers = {n: node.call("digest") for n, node in self.cluster.nodes.items()}
        digests = {n: (a["position"], a["hash"]) for n, a in answers.items()}
        self.assertEqual(world.problems, [])
        violations = checker.check(world.appends, logs, digests, fingerprint=fingerprint)
        self.assertEqual([str(v) for v in violations], [], f"seed {world.seed}")

    def test_status_tells_how_far_everybody_is(self):
        answer, _ = self.append(self.connect(), self.new_stream(), 5)
        deadline = time.monotonic() + 30
        for node in self.cluster.nodes.values():
            while True:
                nodes = node.call("cluster_status")["nodes"]
                if all((n["head"] or 0) >= answer["position"] and n["lag"] == 0 for n in nodes):
                    break
                self.assertLess(time.monotonic(), deadline, nodes)
                time.sleep(0.1)

    def test_lag_is_in_positions(self):
        away = self.cluster.followers()[0]
        self.append(self.connect(), self.new_stream(), 5)
        self.cluster.wait_converged()
        time.sleep(1)
        away.pause()
        try:
            self.append(self.connect(), self.new_stream(), 100)
            deadline = time.monotonic() + 30
            while True:
                nodes = self.cluster.leader().call("cluster_status")["nodes"]
                if {n["id"]: n["lag"] for n in nodes}[away.number] == 100:
                    break
                self.assertLess(time.monotonic(), deadline, nodes)
                time.sleep(0.1)
        finally:
            away.resume()

    def test_node_that_does_not_run_is_refused_at_once(self):
        begun = time.monotonic()
        with self.assertRaises(RpcError) as caught:
            self.cluster.leader().call(
                "cluster_add",
                {"id": 4, "peer_address": "127.0.0.1:9", "client_address": "127.0.0.1:9"}, 30,
            )
        self.assertLess(time.monotonic() - begun, 10)
        self.assertEqual(caught.exception.code, "INVALID_ARGUMENT")
        self.assertIn("127.0.0.1:9", str(caught.exception))
        self.assertEqual(self.member_ids(), [1, 2, 3])
        self.append(self.connect(), self.new_stream())

    def test_id_of_a_removed_node_is_not_used_again(self):
        node = self.add(4)
        self.remove(4)
        deadline = time.monotonic() + 30
        while "this node was removed from the cluster" not in node.log_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.assert_refers_to_members(node)
        node.stop()
        node.wipe()
        node.restart()
        with self.assertRaises(RpcError) as caught:
            self.change("cluster_add", {"id": 4, "peer_address": node.peer_address,
                                        "client_address": node.address})
        self.assertIn("new id", str(caught.exception))

    def assert_refers_to_members(self, removed):
        """Soon, not when the time of the request is over. Until all members know that it is none, they
        may take what it sends on."""
        with removed.connect() as connection:
            for method, params in (
                ("append", {"stream": self.new_stream(), "events": [event()]}),
                ("read_all", {"consistency": "linearizable"}),
            ):
                error, deadline = None, time.monotonic() + 30
                while error is None:
                    self.assertLess(time.monotonic(), deadline, method)
                    try:
                        connection.call(method, {**params, "timeout_ms": 60000}, 30)
                    except RpcError as caught:
                        error = caught
                self.assertEqual(error.code, "NO_LEADER")
                self.assertIn("removed from the cluster", str(error))
            self.assertIn("events", connection.call("read_all", {"limit": 1}))

    def test_standby_reads_and_does_not_vote(self):
        standby = self.add(4, "standby")
        stream = self.new_stream()
        self.append(self.connect(), stream, 3)
        self.cluster.wait_converged()
        self.assertEqual(len(self.read(self.connect(standby), stream)["events"]), 3)
        self.cluster[2].kill()
        self.cluster[3].kill()
        with self.assertRaises((RpcError, NoAnswer, ConnectionLost)):
            self.cluster[1].call(
                "append", {"stream": stream, "events": [event()], "timeout_ms": 3000}, 10
            )
