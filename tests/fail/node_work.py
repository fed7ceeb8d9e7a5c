"""A single node at work while a call of it fails: everything it can be asked for, flushes, the log cut, a backup."""

import os
import shutil
import subprocess
import sys
import time

from attempt import CLEAN_ENDS, ENDS_OF_NODE, Defect, Process, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))

from annal_rpc import Connection, ConnectionLost, NoAnswer, RpcError, event, new_id  # noqa: E402
from cluster import Cluster, free_base_port, program  # noqa: E402

# Small, so that little work flushes and cuts the log.
SETTINGS = {
    "segment-bytes": "3M",
    "log-retained-bytes": "1M",
    "log-trailing-bytes": "256K",
    "tail-bytes": "1M",
    "max-append": "512K",
    "max-event": "256K",
    "disk-free-bytes": "1M",
}
WORK_SECONDS = 25
START_SECONDS = 15
LARGE, LARGE_COUNT = b"x" * 40000, 34  # more than the log keeps


class Gone(Exception):
    """The process has ended."""


def command_of(data, base_port, settings=()):
    command = [program("annald"), "--data-dir", data]
    command += ["--client-listen", f"127.0.0.1:{base_port + 1}", "--peer-listen", f"127.0.0.1:{base_port + 101}"]
    for name, value in {**SETTINGS, **dict(settings)}.items():
        command += ["--" + name, value]
    return command


class Client:
    """Asks one node, again and again until it has answered or the process has ended; keeps what was acknowledged."""

    def __init__(self, process, address, seconds=WORK_SECONDS):
        self.process = process
        self.address = address
        self.deadline = time.monotonic() + seconds
        self.connection = None
        self.acknowledged = {}  # id -> position

    def call(self, method, params=None):
        reason = "nothing was tried"
        while time.monotonic() < self.deadline:
            if not self.process.runs():
                raise Gone()
            try:
                if self.connection is None:
                    self.connection = Connection(self.address, connect_timeout=2)
                return self.connection.call(method, params, timeout=6)
            except RpcError as error:
                if error.code in ("INVALID_ARGUMENT", "WRONG_EXPECTED_VERSION", "EVENT_ID_CONFLICT"):
                    raise Defect(f"{method} answered {error}") from None
                reason = error
            except (OSError, ConnectionLost, NoAnswer) as error:
                reason = error
                self.close()
            time.sleep(0.01)
        raise Defect(f"hangs: {method} had no success within {WORK_SECONDS} s: {reason}")

    def append(self, stream, count=1, data=b"", **more):
        events = [event(data=data, id=new_id(), tags=["red"]) for _ in range(count)]
        answer = self.call("append", {"stream": stream, "events": events, **more})
        for place, one in enumerate(events):
            self.acknowledged[one["id"]] = answer["position"] - len(events) + 1 + place
        return answer

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def follow(client):
    """A subscription of everything brings each acknowledged event once, in order."""
    while True:
        client.call("ping")
        try:
            found, _ = client.connection.subscribe(query="all").until_caught_up(5)
        except (OSError, ConnectionLost, NoAnswer, RpcError, AttributeError):
            client.close()
            if time.monotonic() > client.deadline:
                raise Defect("hangs: a subscription brought nothing") from None
            continue
        positions = [one[0] for one in found]
        if positions != sorted(set(positions)):
            raise Defect(f"a subscription brought positions {positions}")
        missing = set(client.acknowledged) - {one[3] for one in found}
        if missing:
            raise Defect(f"a subscription left out {len(missing)} acknowledged events")
        return


def back_up(client, folder):
    """Each try under a name of its own: one that was cut off may have left something."""
    for number in range(1000):
        path = os.path.join(folder, f"backup-{number}")
        client.call("ping")
        try:
            client.connection.call("backup", {"path": path, "timeout_ms": 10000}, timeout=12)
            return
        except (OSError, ConnectionLost, NoAnswer, RpcError, AttributeError) as error:
            if isinstance(error, ConnectionLost):
                client.close()
            if os.path.exists(path) and isinstance(error, RpcError):
                raise Defect(f"a backup that failed left {path}: {error}") from None
            if time.monotonic() > client.deadline:
                raise Defect(f"hangs: no backup within {WORK_SECONDS} s: {error}") from None
            time.sleep(0.02)


def few_calls(client, folder):
    for number in range(3):
        client.append(f"Few-{number}", 2)


def all_calls(client, folder):
    for number in range(8):
        client.append(f"Order-{number % 3}", 2)
    client.append("Sum-1", condition={"fail_if": [{"types": ["never"]}]})
    client.call("checkpoint_put", {"consumer": "one", "position": 1})
    for number in range(LARGE_COUNT):
        client.append("Bulk-1", data=LARGE)
    client.call("snapshot_put", {"stream": "Order-0", "version": 2, "data": b"sum"})
    for method, params in (
        ("read_stream", {"stream": "Order-1"}),
        ("read_all", {"limit": 20, "query": [{"tags": ["red"]}]}),
        ("read_all", {"limit": 5, "consistency": "linearizable"}),
        ("load", {"stream": "Order-0"}),
        ("stream_list", {}),
        ("type_list", {}),
        ("count", {"query": [{"categories": ["Order"]}]}),
        ("checkpoint_get", {"consumer": "one"}),
        ("stats", {}),
        ("digest", {}),
        ("cluster_status", {}),
    ):
        client.call(method, params)
    follow(client)
    back_up(client, folder)
    for number in range(5):
        client.append(f"Order-{number % 3}", 2)


class NodeWork:
    """Starts on a copy of `template` (None: on nothing)."""

    def __init__(self, name, work, template=None):
        self.name, self.work, self.template = name, work, template

    def prepare(self, scratch, library):
        """Data of a node that has worked."""
        if self.template is None:
            return
        self.template = os.path.join(scratch, "template-" + self.name)
        os.makedirs(self.template)
        data, base = os.path.join(self.template, "data"), free_base_port()
        process = Process(command_of(data, base), None, library, self.template)
        client = Client(process, f"127.0.0.1:{base + 1}")
        all_calls(client, self.template)
        client.close()
        if process.end() != 0:
            raise RuntimeError(process.output())
        self.acknowledged = client.acknowledged

    def attempt(self, strike, folder, library):
        """(exit code or None when it went on, report); raises Defect."""
        data, base = os.path.join(folder, "data"), free_base_port()
        acknowledged = {}
        if self.template:
            shutil.copytree(os.path.join(self.template, "data"), data)
            acknowledged = dict(self.acknowledged)
        process = Process(command_of(data, base), strike, library, folder)
        try:
            client = Client(process, f"127.0.0.1:{base + 1}")
            try:
                self._work(client, folder, strike)
            except Gone:
                pass
            finally:
                client.close()
            process.end()
            code = process.check_code(ENDS_OF_NODE)
            acknowledged.update(client.acknowledged)
        finally:
            process.kill()
        check_whole(data, base, acknowledged, library, folder)
        return code, process.report()

    def _work(self, client, folder, strike):
        try:
            self.work(client, folder)
        except Defect as defect:
            # What fails for good may keep a node from its work, but not from its end.
            if not strike.error.endswith("+") or "hangs" not in str(defect):
                raise


def check_whole(data, base, acknowledged, library, folder):
    """The node starts, has everything that was acknowledged, ends, and its data is whole."""
    after = os.path.join(folder, "after")
    os.makedirs(after, exist_ok=True)
    process = Process(command_of(data, base), None, library, after)
    client = Client(process, f"127.0.0.1:{base + 1}", START_SECONDS)
    try:
        client.append("After-1")
        found = read_back(client)
    except Gone:
        raise Defect(f"does not start afterwards: {process.output().strip()}") from None
    finally:
        client.close()
        if process.runs():
            process.end("the end of the start afterwards")
        process.kill()
    for one, position in acknowledged.items():
        if found.get(one) != position:
            raise Defect(f"acknowledged at {position}, afterwards at {found.get(one)}")
    verified = subprocess.run([program("annald"), "verify", data], capture_output=True, text=True, check=False)
    if verified.returncode != 0:
        raise Defect(f"annald verify: {verified.stdout.strip()} {verified.stderr.strip()}")


def read_back(client):
    found, start = {}, 1
    while True:
        page = client.call("read_all", {"from": start, "limit": 5000})
        found.update((one[3], one[0]) for one in page["events"])
        if page["end"]:
            return found
        start = page["next"]
