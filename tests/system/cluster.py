"""A cluster of its own for a test: own folder, own free ports, run by cluster/local.sh."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

from annal_rpc import Connection, ConnectionLost, NoAnswer, RpcError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "cluster", "local.sh")
# Below the ports that the kernel gives to outgoing connections.
PORT_FIRST, PORT_LAST = 20000, 32000
NODES_MAX = 9


def program(name):
    """Path of annald or annal, as cluster/local.sh finds it."""
    folders = [os.environ.get("ANNAL_BIN_DIR"), os.path.join(ROOT, "build", "release")]
    for folder in filter(None, folders):
        if os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    return shutil.which(name)


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_base_port():
    """A base port at random with every port that a cluster may need free."""
    for _ in range(1000):
        base = random.SystemRandom().randrange(PORT_FIRST, PORT_LAST)
        wanted = [base + of + node for of in (0, 100, 200) for node in range(1, NODES_MAX + 1)]
        if all(is_free(port) for port in wanted):
            return base
    raise RuntimeError(f"no {NODES_MAX * 3} free ports between {PORT_FIRST} and {PORT_LAST}")


class ClusterError(Exception):
    pass


class Node:
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.folder = os.path.join(cluster.folder, f"node-{number}")
        self.data = os.path.join(self.folder, "data")
        self.conf = os.path.join(self.folder, "annald.conf")
        self.log = os.path.join(self.folder, "annald.log")
        host = f"{cluster.hosts}.{number}" if cluster.hosts else "127.0.0.1"
        self.address = f"{host}:{cluster.base_port + number}"
        self.peer_address = f"{host}:{cluster.base_port + 100 + number}"

    def do(self, command):
        self.cluster.run(command, str(self.number))

    def kill(self):
        self.do("kill")

    def pause(self):
        self.do("pause")

    def resume(self):
        self.do("resume")

    def stop(self):
        self.do("stop")

    def restart(self):
        self.do("restart")

    def wipe(self):
        self.do("wipe")

    def pid(self):
        """None when it does not run."""
        try:
            with open(os.path.join(self.folder, "annald.pid"), encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if self.conf.encode() not in file.read().split(b"\0"):
                    return None
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                return None if file.read().rsplit(")", 1)[1].split()[0] == "Z" else pid
        except (OSError, ValueError):
            return None

    def memory_bytes(self):
        """Resident memory."""
        with open(f"/proc/{self.pid()}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def connect(self, **options):
        return Connection(self.address, **options)

    def call(self, method, params=None, timeout=10):
        with self.connect() as connection:
            return connection.call(method, params, timeout)

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def launch(self, *flags, conf=None, data=None):
        """Run annald in the foreground of this process, outside local.sh: for its exit code and its
        messages. The caller waits for it."""
        command = [program("annald"), "--config", conf or self.conf]
        for setting in self.cluster.settings:
            command += ["--" + setting.split("=", 1)[0], setting.split("=", 1)[1]]
        if data:
            command += ["--data-dir", data]
        return subprocess.Popen(
            command + list(flags),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )


class Cluster:
    def __init__(self, nodes=3, settings=(), folder=None, hosts=None):
        self.size = nodes
        self.hosts = hosts  # A.B.C: node N is at A.B.C.N
        self.settings = list(settings)
        self.parent = folder or tempfile.mkdtemp(prefix="annal-test-")
        self.folder = os.path.join(self.parent, "cluster")
        self.base_port = free_base_port()
        self.environment = None  # of local.sh and of what it starts; None: as ours
        self.nodes = {number: Node(self, number) for number in range(1, nodes + 1)}
        self.keep = False

    def __getitem__(self, number):
        return self.nodes[number]

    def run(self, command, *arguments):
        done = subprocess.run(
            [SCRIPT, command, *arguments, "--dir", self.folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",  # it quotes what nodes say
            check=False,
            env=self.environment,
        )
        if done.returncode != 0:
            raise ClusterError(f"local.sh {command} {' '.join(arguments)}: {done.stdout.strip()}")
        return done.stdout

    def start(self):
        new = [] if os.path.exists(os.path.join(self.folder, "cluster")) else self._how_to_make()
        self.run("start", *new)
        return self

    def _how_to_make(self):
        options = ["--nodes", str(self.size), "--base-port", str(self.base_port)]
        if self.hosts:
            options += ["--hosts", self.hosts]
        for setting in self.settings:
            options += ["--set", setting]
        return options

    def add(self, number):
        """Start a new node that is no member yet."""
        self.run("add", str(number))
        self.nodes[number] = Node(self, number)
        return self.nodes[number]

    def stop(self):
        self.run("stop")

    def close(self, failed=False):
        """Stop; remove the folder unless something failed: then say where it is."""
        if os.path.exists(os.path.join(self.folder, "cluster")):
            self.run("stop")
        if failed or self.keep:
            print(f"\nlogs and data are kept in {self.folder}", flush=True)
        else:
            shutil.rmtree(self.parent, ignore_errors=True)

    # ---- looking at it ----

    def url(self):
        return "annal://" + ",".join(node.address for node in self.nodes.values())

    def running(self):
        return [node for node in self.nodes.values() if node.pid() is not None]

    def leader(self, timeout=30):
        """The node that leads: it says so itself, and takes writes."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for node in self.running():
                try:
                    if node.call("ping", timeout=2)["role"] == "leader":
                        return node
                except (OSError, ConnectionLost, NoAnswer, RpcError):
                    continue
            time.sleep(0.05)
        raise ClusterError(f"no leader within {timeout} s")

    def followers(self):
        leader = self.leader()
        return [node for node in self.running() if node is not leader]

    def wait_writable(self, node=None, timeout=30):
        """Until an append that its expectation refuses is decided, through that node or any."""
        deadline = time.monotonic() + timeout
        probe = {
            "stream": "no-such-stream",
            "expected_version": "stream_exists",
            "events": [{"type": "probe", "data": b""}],
            "timeout_ms": 1000,
        }
        reason = "nothing tried"
        while time.monotonic() < deadline:
            for one in [node] if node else self.running():
                try:
                    one.call("append", probe, timeout=3)
                except RpcError as error:
                    if error.code == "WRONG_EXPECTED_VERSION":
                        return
                    reason = error
                except (OSError, ConnectionLost, NoAnswer) as error:
                    reason = error
            time.sleep(0.05)
        raise ClusterError(f"no writes within {timeout} s: {reason}")

    def wait_converged(self, timeout=60, nodes=None):
        """Until all nodes have one head and one digest; returns it as (position, hash)."""
        deadline = time.monotonic() + timeout
        digests = {}
        while time.monotonic() < deadline:
            digests = {}
            for node in nodes or self.nodes.values():
                try:
                    answer = node.call("digest", timeout=3)
                    digests[node.number] = (answer["position"], answer["hash"])
                except (OSError, ConnectionLost, NoAnswer, RpcError) as error:
                    digests[node.number] = str(error)
            values = list(digests.values())
            if all(value == values[0] and isinstance(value, tuple) for value in values):
                return values[0]
            time.sleep(0.1)
        raise ClusterError(f"the nodes differ after {timeout} s: {digests}")

    def read_all(self, node, system=False, start=1):
        """Every event of a node, as it is in the answers."""
        events = []
        with node.connect() as connection:
            while True:
                page = connection.call(
                    "read_all", {"from": start, "limit": 5000, "system": system}, timeout=30
                )
                events += page["events"]
                if page["end"]:
                    return events
                start = page["next"]
