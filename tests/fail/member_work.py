"""A member of a cluster of three at work while a call of it fails: it has fallen behind what the others' logs reach
back to, pulls what it lacks, follows, leads, takes appends. The others work on."""

import subprocess
import threading

from attempt import ENDS_OF_NODE, Defect, Process, wait_until
from node_work import LARGE, LARGE_COUNT, SETTINGS, Client, Cluster, Gone, program, read_back

MEMBER = 3
ATTEMPTS_MAX = 200  # then a new cluster, so that the disk does not fill up
CATCH_UP_SECONDS = 40


class Always:
    """In the place of a process, for a client of nodes that nothing happens to."""

    @staticmethod
    def runs():
        return True


class MemberWork:
    name = "member"

    def __init__(self):
        self.cluster = None
        self.scratch = None
        self.attempts = 0
        self.acknowledged = {}
        self._one_at_a_time = threading.Lock()

    def prepare(self, scratch, library):
        self.scratch = scratch
        self._renew()

    def _renew(self):
        self.close()
        settings = [f"{name}={value}" for name, value in SETTINGS.items()]
        self.cluster = Cluster(3, settings)
        self.cluster.start()
        self.cluster[MEMBER].stop()
        self.attempts, self.acknowledged = 0, {}

    def close(self):
        if self.cluster is not None:
            self.cluster.close()
        self.cluster = None

    def _go_on_without(self):
        client = Client(Always, self.cluster[1].address)
        for number in range(LARGE_COUNT):
            head = client.append(f"Bulk-{number % 3}", data=LARGE)["position"]
        client.close()
        self.acknowledged.update(client.acknowledged)
        return head

    def _command(self):
        node = self.cluster[MEMBER]
        command = [program("annald"), "--config", node.conf]
        for setting in self.cluster.settings:
            name, value = setting.split("=", 1)
            command += ["--" + name, value]
        return command

    def attempt(self, strike, folder, library):
        with self._one_at_a_time:
            self.attempts += 1
            if self.attempts > ATTEMPTS_MAX:
                self._renew()
            return self._attempt(strike, folder, library)

    def _attempt(self, strike, folder, library):
        head = self._go_on_without()
        process = Process(self._command(), strike, library, folder)
        client = Client(process, self.cluster[MEMBER].address, CATCH_UP_SECONDS)
        try:
            self._work(client, process, head)
        except Gone:
            pass
        except Defect as defect:
            if not strike.error.endswith("+") or "hangs" not in str(defect):
                raise
        finally:
            client.close()
            try:
                process.end()
            finally:
                process.kill()
        self.acknowledged.update(client.acknowledged)
        code = process.check_code(ENDS_OF_NODE)
        self._check_whole()
        return code, process.report()

    def _work(self, client, process, head):
        wait_until(lambda: client.call("ping")["head"] >= head, CATCH_UP_SECONDS, "catching up", process)
        self._transfer(client)
        for number in range(6):
            client.append(f"Order-{number % 2}", 2)
        client.call("read_all", {"limit": 5, "consistency": "linearizable"})

    def _transfer(self, client):
        """It leads, or its wish was not heard: another may lead as well."""
        other = Client(Always, self.cluster[1].address, 5)
        try:
            other.call("cluster_transfer", {"id": MEMBER, "timeout_ms": 4000})
        except Defect:
            pass
        finally:
            other.close()

    def _check_whole(self):
        node = self.cluster[MEMBER]
        node.restart()
        client = Client(Always, node.address, CATCH_UP_SECONDS)
        head = client.append("After-1")["position"]
        digests = []
        for number in self.cluster.nodes:
            one = Client(Always, self.cluster[number].address, CATCH_UP_SECONDS)
            wait_until(lambda: one.call("ping")["head"] >= head, CATCH_UP_SECONDS, f"node {number} to follow")
            answer = one.call("digest")
            digests.append((answer["position"], answer["hash"]))
            one.close()
        if len(set(digests)) != 1:
            raise Defect(f"the nodes differ: {digests}")
        self._check_acknowledged(client)
        client.close()
        node.stop()
        done = subprocess.run([program("annald"), "verify", node.data], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Defect(f"annald verify: {done.stdout.strip()} {done.stderr.strip()}")

    def _check_acknowledged(self, client):
        found = read_back(client)
        for one, position in self.acknowledged.items():
            if found.get(one) != position:
                raise Defect(f"acknowledged at {position}, afterwards at {found.get(one)}")
