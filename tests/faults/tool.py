"""The same work through libannal: the tool `annal` appends, with its own way of trying again, and follows the
store, resuming on other nodes by itself."""

import json
import os
import subprocess
import threading
import time
import uuid

from checker import Append, Received
from cluster import program
from workload import fingerprint_of

REFUSED, UNREACHABLE = 1, 3


class ToolClient(threading.Thread):
    def __init__(self, world, number):
        super().__init__(daemon=True, name=f"tool {number}")
        self.world = world
        self.random = world.random(self.name)

    def run(self):
        try:
            while not self.world.stop_clients.is_set():
                self.one_append()
                self.world.stop_clients.wait(self.random.random() * 0.1)
        except Exception as error:
            self.world.problem("client-failed", f"{self.name}: {error!r}")
            raise

    def one_append(self):
        id, data = uuid.UUID(bytes=self.random.randbytes(16)), str(self.random.random())
        stream = f"Tool-{self.random.randrange(5)}"
        append = Append([(stream, id.bytes, fingerprint_of("tool", data.encode()))],
                        sent=time.monotonic(), client=self.name)
        for _ in range(10):
            done = self.annal("append", stream, "--type", "tool", "--data", data, "--id", str(id))
            if done.returncode == 0:
                answer = json.loads(done.stdout)
                append.outcome = "ok"
                append.answered = time.monotonic()
                append.first_position = append.position = answer["position"]
                append.versions = {stream: answer["version"]}
                break
            if done.returncode not in (REFUSED, UNREACHABLE):
                self.world.problem("tool", f"exit code {done.returncode}: {done.stderr}")
            if self.world.stop_all.wait(self.random.random() * 0.3):
                break
        with self.world.lock:
            self.world.appends.append(append)
            self.world.counts[append.outcome] += 1
            if append.outcome == "ok":
                self.world.count_ack(append.position)

    def annal(self, *arguments):
        return subprocess.run(
            [program("annal"), *arguments, "--url", self.world.cluster.url(), "--timeout", "3000"],
            capture_output=True, text=True, check=False,
        )


class ToolSubscriber(threading.Thread):
    """`annal tail`, started again behind what it printed if it ends."""

    def __init__(self, world):
        super().__init__(daemon=True, name="annal tail")
        self.world = world
        self.received = Received("annal tail --all", [])
        self.resumed = 0
        self.process = None

    def run(self):
        while not self.world.stop_all.is_set():
            after = self.received.events[-1][0] if self.received.events else 0
            self.process = subprocess.Popen(
                [program("annal"), "tail", "--all", "--after", str(after), "--output", "ndjson",
                 "--url", self.world.cluster.url()],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ,
            )
            self.follow(self.process)
            self.process.wait()
            self.resumed += 1
            self.world.stop_all.wait(0.2)

    def follow(self, process):
        url = self.world.cluster.url()
        members_changed = threading.Event()

        def watch():  # it knows the nodes that it was told of
            while not members_changed.wait(1) and self.world.cluster.url() == url:
                pass
            process.terminate()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # ended in the middle of it
            event = json.loads(line)
            self.received.events.append((event["position"], uuid.UUID(event["id"]).bytes))
        members_changed.set()
        watching.join()

    def join(self, timeout=None):
        if self.process is not None:
            self.process.terminate()
        super().join(timeout)
