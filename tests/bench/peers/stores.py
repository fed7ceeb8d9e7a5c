"""The stores that are measured: each is set up with three nodes in a folder of its own, on free ports of
127.0.0.1, and taken down by process id. Nothing outside of the folder is touched."""

import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# Below the ports that the kernel gives to outgoing connections.
PORT_FIRST, PORT_LAST = 20000, 32000
READY_SECONDS = 40
NODES = (0, 1, 2)


class StoreError(Exception):
    """A store cannot be set up: the text says why."""


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_ports(offsets):
    """A base such that base + each offset is free."""
    for _ in range(1000):
        base = random.SystemRandom().randrange(PORT_FIRST, PORT_LAST)
        if all(is_free(base + offset) for offset in offsets):
            return base
    raise StoreError(f"no free ports between {PORT_FIRST} and {PORT_LAST}")


def wait_until(condition, what):
    """What the condition returns, once it is neither None nor False."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        try:
            value = condition()
        except (OSError, ValueError, KeyError, IndexError):
            value = None
        if value is not None and value is not False:
            return value
        time.sleep(0.1)
    raise StoreError(f"{what} after {READY_SECONDS} seconds")


class Packages:
    """Programs that are installed, or were unpacked by packages.sh."""

    def __init__(self, folder):
        self.folder = folder

    def find(self, *places):
        """The first that is there: below the folder, or in the system."""
        for place in places:
            for path in ("/" + place, os.path.join(self.folder, place)):
                if os.access(path, os.X_OK):
                    return path
        raise StoreError(f"{places[0]} is neither installed nor in {self.folder}")

    def version(self, *places):
        """What the program says of itself."""
        done = subprocess.run([self.find(*places), "--version"], env=self.environment(),
                              capture_output=True, text=True, check=False)
        match = re.search(r"\d+(\.\d+)+", done.stdout)
        if match is None:
            raise StoreError(f"{places[0]} does not tell its version: {done.stderr.strip()}")
        return match.group(0)

    def environment(self):
        return {**os.environ, "LD_LIBRARY_PATH": os.path.join(self.folder, "lib")}


class Store:
    """Node 0, 1, 2; one of them leads."""

    name = ""  # in the results
    program = ""  # bench-PROGRAM measures it
    promise = ""  # what an acknowledged append means
    same_as, same_rows = "", ()  # rows in which it does nothing else than that store
    first_survives = False  # after a kill the client stays with a node that lives

    def __init__(self, packages, folder):
        self.packages = packages
        self.folder = folder
        self.processes = {}  # node -> subprocess.Popen
        self.base = free_ports([kind * 10 + node for kind in range(3) for node in NODES])

    def port(self, node, kind=0):
        return self.base + kind * 10 + node

    def address(self, node):
        return f"127.0.0.1:{self.port(node)}"

    def node_folder(self, node):
        return os.path.join(self.folder, f"node-{node}")

    def launch(self, node, command, **options):
        log = os.path.join(self.folder, f"node-{node}.log")
        with open(log, "ab") as output:
            self.processes[node] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self.packages.environment(), **options)

    def has_ended(self, node):
        return node in self.processes and self.processes[node].poll() is not None

    def log_end(self, node):
        path = os.path.join(self.folder, f"node-{node}.log")
        with open(path, encoding="utf-8", errors="replace") as file:
            return " | ".join(line.strip() for line in file.read().splitlines()[-3:])

    def check_alive(self):
        for node in self.processes:
            if self.has_ended(node):
                raise StoreError(f"{self.name}: node {node} has ended: {self.log_end(node)}")

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # What a store has of its own:

    def version(self):
        raise NotImplementedError

    def start(self):
        raise NotImplementedError

    def leader(self):
        """The node that leads now; None when there is none."""
        raise NotImplementedError

    def restart(self, node):
        """Bring a killed node back, and wait until it has caught up."""
        raise NotImplementedError

    def prepare_reads(self):
        """What somebody who looks after the store would do after many appends."""

    def after_kill(self, leader):
        """A shell command that makes another node lead, for stores that do not by themselves."""
        del leader

    # What is the same for all:

    def process_ids(self):
        return [process.pid for process in self.processes.values() if process.poll() is None]

    def process_id(self, node):
        return self.processes[node].pid

    def servers(self, survivors_of=None):
        """Addresses, the leader first; or, when that is to be killed, one that stays first."""
        if survivors_of is not None and self.first_survives:
            return [self.address(node) for node in NODES if node != survivors_of]
        leader = wait_until(self.leader, f"{self.name} has no leader")
        return [self.address(leader)] + [self.address(n) for n in NODES if n != leader]


# ---- annal ----


class Annal(Store):
    name = program = "annal"
    promise = "synced on a majority before the answer (raft); expected version; all indexes"

    def __init__(self, packages, folder):
        super().__init__(packages, folder)
        self.base = free_ports([of + node for of in (1, 101, 201) for node in NODES])
        self.url = ""

    def port(self, node, kind=0):
        return self.base + kind * 100 + node + 1

    def node_folder(self, node):
        return os.path.join(self.folder, "cluster", f"node-{node + 1}")

    def local(self, *arguments):
        done = subprocess.run(
            [os.path.join(ROOT, "cluster", "local.sh"), *arguments,
             "--dir", os.path.join(self.folder, "cluster")],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StoreError(f"annal: local.sh {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def version(self):
        done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                              capture_output=True, text=True, check=False)
        return "annal " + (done.stdout.strip() or "of an unknown commit")

    def start(self):
        self.url = self.local("start", "--nodes", "3", "--base-port", str(self.base))

    def stop(self):
        if os.path.exists(os.path.join(self.folder, "cluster", "cluster")):
            self.local("stop")

    def process_id(self, node):
        with open(os.path.join(self.node_folder(node), "annald.pid"), encoding="ascii") as file:
            return int(file.read())

    def process_ids(self):
        return [self.process_id(node) for node in NODES
                if os.path.exists(os.path.join(self.node_folder(node), "annald.pid"))]

    def leader(self):
        program = os.path.join(os.environ["ANNAL_BIN_DIR"], "annal")
        done = subprocess.run([program, "status", "-o", "json", "--url", self.url],
                              capture_output=True, text=True, check=False)
        leader = json.loads(done.stdout)["leader_id"]
        return leader - 1 if leader else None

    def restart(self, node):
        self.local("restart", str(node + 1))
        self.local("start")


# ---- NATS JetStream ----

NATS_PLACES = ("usr/sbin/nats-server", "usr/bin/nats-server")


class Nats(Store):
    name = "nats"
    program = "nats"
    promise = ("raft, three replicas; as shipped it answers before anything is synced (every 2 "
               "minutes); of a batch only the first event can expect something")
    first_survives = True

    def version(self):
        return "NATS JetStream " + self.packages.version(*NATS_PLACES)

    def prepare(self, folder):
        """What a variant adds to the settings of the stream's files."""
        del folder
        return ""

    def start(self):
        routes = ", ".join(f"nats://127.0.0.1:{self.port(node, 1)}" for node in NODES)
        for node in NODES:
            folder = self.node_folder(node)
            os.makedirs(folder)
            more = self.prepare(folder)
            with open(folder + ".conf", "w", encoding="utf-8") as file:
                file.write(
                    f'server_name: n{node}\nlisten: 127.0.0.1:{self.port(node)}\n'
                    f'jetstream {{ store_dir: "{folder}", max_mem: 1G, max_file: 50G{more} }}\n'
                    f"cluster {{ name: bench, listen: 127.0.0.1:{self.port(node, 1)}, "
                    f"routes: [{routes}] }}\n")
            self.run_node(node)
        wait_until(self.create_stream, "nats: no stream can be made")
        wait_until(self.is_current, "nats: the replicas are not current")

    def run_node(self, node):
        program = self.packages.find(*NATS_PLACES)
        self.launch(node, [program, "-c", self.node_folder(node) + ".conf"])

    def request(self, node, subject, body):
        """One question and its answer, by the text protocol."""
        with socket.create_connection(("127.0.0.1", self.port(node)), timeout=5) as connection:
            file = connection.makefile("rwb")
            file.readline()
            file.write(b'CONNECT {"verbose":false}\r\nSUB _INBOX.setup 1\r\n'
                       + f"PUB {subject} _INBOX.setup {len(body)}\r\n{body}\r\n".encode())
            file.flush()
            while line := file.readline():
                if line.startswith(b"PING"):
                    file.write(b"PONG\r\n")
                    file.flush()
                if line.startswith(b"MSG"):
                    return json.loads(file.read(int(line.split()[-1])))
        return {}

    def create_stream(self):
        self.check_alive()
        answer = self.request(0, "$JS.API.STREAM.CREATE.EV", json.dumps({
            "name": "EV", "subjects": ["ev.>"], "num_replicas": 3, "storage": "file",
            "retention": "limits", "discard": "old", "max_age": 0, "allow_direct": True}))
        return "error" not in answer and bool(answer)

    def cluster(self):
        for node in NODES:
            if not self.has_ended(node):
                answer = self.request(node, "$JS.API.STREAM.INFO.EV", "")
                if "cluster" in answer:
                    return answer["cluster"]
        return {}

    def is_current(self):
        cluster = self.cluster()
        return bool(cluster.get("leader")) and len(cluster.get("replicas", [])) == 2 and all(
            replica.get("current") for replica in cluster["replicas"])

    def leader(self):
        leader = self.cluster().get("leader", "")
        return int(leader[1:]) if leader else None

    def restart(self, node):
        self.run_node(node)
        wait_until(self.is_current, "nats: the replicas are not current")


class NatsSynced(Nats):
    name = "nats-sync"
    promise = ("the same with every write synchronous, by sync_interval: always; before 2.10, which "
               "has no such setting, by chattr +S on the folder of its files")
    same_as = "nats"
    same_rows = ("read-all", "read-stream-1", "read-stream-16")

    def prepare(self, folder):
        major, minor = self.packages.version(*NATS_PLACES).split(".")[:2]
        if (int(major), int(minor)) >= (2, 10):
            return ", sync_interval: always"
        done = subprocess.run(["chattr", "+S", folder], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StoreError(f"nats-sync: {done.stderr.strip()}: TMPDIR must be on a file system "
                             "with synchronous folders, such as ext4")
        return ""


# ---- etcd ----


class Etcd(Store):
    name = program = "etcd"
    promise = ("synced on a majority before the answer (raft); read in the order of keys, history "
               "only until it is compacted; keeps everything in memory maps of one file")
    first_survives = True

    def version(self):
        return "etcd " + self.packages.version("usr/bin/etcd")

    def start(self):
        for node in NODES:
            self.run_node(node, "new")
        wait_until(self.is_healthy, "etcd: not healthy")

    def run_node(self, node, state):
        members = ",".join(f"n{n}=http://127.0.0.1:{self.port(n, 1)}" for n in NODES)
        client = f"http://{self.address(node)}"
        peer = f"http://127.0.0.1:{self.port(node, 1)}"
        self.launch(node, [
            self.packages.find("usr/bin/etcd"), "--name", f"n{node}",
            "--data-dir", self.node_folder(node), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", members,
            "--initial-cluster-state", state, "--initial-cluster-token", str(self.base),
            "--quota-backend-bytes", "8000000000", "--log-level", "error", "--logger", "zap"])

    def status(self, node):
        question = urllib.request.Request(f"http://{self.address(node)}/v3/maintenance/status",
                                          data=b"{}")
        with urllib.request.urlopen(question, timeout=5) as answer:
            return json.load(answer)

    def is_healthy(self):
        self.check_alive()
        states = [self.status(node) for node in NODES]
        applied = [int(state["raftAppliedIndex"]) for state in states]
        return all(state.get("leader", "0") != "0" for state in states) and (
            max(applied) - min(applied) < 100)

    def leader(self):
        for node in NODES:
            if not self.has_ended(node):
                status = self.status(node)
                if status["leader"] == status["header"]["member_id"]:
                    return node
        return None

    def restart(self, node):
        self.run_node(node, "existing")
        wait_until(self.is_healthy, "etcd: not healthy")


# ---- PostgreSQL ----

POSTGRES_PLACE = "usr/lib/postgresql/15/bin/postgres"

POSTGRES_TABLES = """
CREATE TABLE events (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), stream_id text NOT NULL, stream_type text NOT NULL,
  event_type text NOT NULL, event_data jsonb NOT NULL, metadata jsonb NOT NULL DEFAULT '{}',
  version bigint NOT NULL, global_position bigserial, created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (stream_id, version));
CREATE INDEX ON events (global_position);
CREATE INDEX ON events (event_type);
CREATE INDEX ON events (created_at);
CREATE FUNCTION append_events(p_stream text, p_type text, p_expected bigint, p_events jsonb)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE current bigint;
BEGIN
  SELECT coalesce(max(version), 0) INTO current FROM events WHERE stream_id = p_stream;
  IF current <> p_expected THEN
    RAISE EXCEPTION 'WrongExpectedVersion: % is at %', p_stream, current;
  END IF;
  INSERT INTO events (stream_id, stream_type, event_type, event_data, metadata, version)
  SELECT p_stream, p_type, e->>'type', e->'data', e->'meta', current + n
  FROM jsonb_array_elements(p_events) WITH ORDINALITY AS list (e, n) ORDER BY n;
  RETURN current + jsonb_array_length(p_events);
END $$;
CREATE FUNCTION append_event(p_stream text, p_type text, p_expected bigint, p_event text,
                             p_data jsonb, p_meta jsonb)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE current bigint; place bigint;
BEGIN
  SELECT coalesce(max(version), 0) INTO current FROM events WHERE stream_id = p_stream;
  IF current <> p_expected THEN
    RAISE EXCEPTION 'WrongExpectedVersion: % is at %', p_stream, current;
  END IF;
  INSERT INTO events (stream_id, stream_type, event_type, event_data, metadata, version)
  VALUES (p_stream, p_type, p_event, p_data, p_meta, current + 1)
  RETURNING global_position INTO place;
  RETURN place;
END $$;
"""

POSTGRES_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 400
shared_buffers = 1GB
wal_level = replica
max_wal_size = 4GB
wal_keep_size = 1GB
max_wal_senders = 10
hot_standby = on
jit = off
log_min_messages = error
log_min_error_statement = panic
"""


class Postgres(Store):
    name = program = "postgres"
    promise = ("synced on the primary and one standby before the answer; nobody takes over by "
               "himself; positions may become visible out of order, so one who polls can miss some")

    def __init__(self, packages, folder):
        super().__init__(packages, folder)
        self.bin = os.path.dirname(packages.find(POSTGRES_PLACE))
        self.primary = 0
        self.user = self.server_user()

    @staticmethod
    def server_user():
        """It refuses to run as root."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name).pw_name
            except KeyError:
                continue
        raise StoreError("postgres: does not run as root, and there is no other user")

    def version(self):
        return "PostgreSQL " + self.packages.version(POSTGRES_PLACE)

    def run(self, program, *arguments):
        done = subprocess.run([os.path.join(self.bin, program), *arguments], user=self.user,
                              cwd=self.folder, env=self.packages.environment(),
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StoreError(f"postgres: {program}: {done.stderr.strip()[-300:]}")

    def psql_command(self, node):
        return [os.path.join(self.bin, "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", "-h",
                "127.0.0.1", "-p", str(self.port(node)), "-U", "postgres", "postgres"]

    def sql(self, node, *texts):
        words = [word for text in texts for word in ("-c", text)]
        done = subprocess.run(self.psql_command(node) + words, env=self.packages.environment(),
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"postgres: {done.stderr.strip()}")
        return done.stdout.strip()

    def configure(self, node, upstream=None):
        with open(os.path.join(self.node_folder(node), "postgresql.conf"), "a",
                  encoding="utf-8") as file:
            file.write(f"{POSTGRES_SETTINGS}port = {self.port(node)}\ncluster_name = 's{node}'\n")
            if upstream is not None:
                file.write(f"primary_conninfo = '{self.conninfo(node, upstream)}'\n")

    def conninfo(self, node, upstream):
        return (f"host=127.0.0.1 port={self.port(upstream)} user=postgres "
                f"application_name=s{node}")

    def run_node(self, node):
        self.launch(node, [os.path.join(self.bin, "postgres"), "-D", self.node_folder(node)],
                    user=self.user)

        def answers():
            self.check_alive()
            return self.sql(node, "SELECT 1") == "1"

        wait_until(answers, f"postgres: node {node} does not answer")

    def start(self):
        os.chmod(self.folder, 0o755)
        if self.user:
            shutil.chown(self.folder, self.user)
        self.run("initdb", "-D", self.node_folder(0), "-U", "postgres", "-A", "trust", "--no-sync")
        with open(os.path.join(self.node_folder(0), "pg_hba.conf"), "a", encoding="utf-8") as file:
            file.write("host replication all 127.0.0.1/32 trust\n")
        self.configure(0)
        self.run_node(0)
        self.sql(0, POSTGRES_TABLES)
        for node in (1, 2):
            self.add_standby(node)
        self.want_synchronous()
        wait_until(self.is_replicated, "postgres: the standbys do not follow")

    def add_standby(self, node):
        folder = self.node_folder(node)
        self.run("pg_basebackup", "-h", "127.0.0.1", "-p", str(self.port(self.primary)), "-U",
                 "postgres", "-D", folder, "-c", "fast", "-X", "stream", "--no-sync")
        # The last setting of a name counts; one made by ALTER SYSTEM would count more.
        with open(os.path.join(folder, "postgresql.auto.conf"), "w", encoding="utf-8"):
            pass
        self.configure(node, self.primary)
        with open(os.path.join(folder, "standby.signal"), "w", encoding="utf-8"):
            pass
        if self.user:
            shutil.chown(os.path.join(folder, "standby.signal"), self.user)
        self.run_node(node)

    def want_synchronous(self):
        self.sql(self.primary, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s0,s1,s2)'",
                 "SELECT pg_reload_conf()")

    def is_replicated(self):
        return self.sql(self.primary, "SELECT count(*) FROM pg_stat_replication WHERE "
                        "state = 'streaming' AND sync_state = 'quorum'") == "2"

    def leader(self):
        return self.primary

    def prepare_reads(self):
        self.sql(self.primary, "VACUUM ANALYZE events")
        end = self.sql(self.primary, "SELECT pg_current_wal_lsn()")
        wait_until(lambda: all(
            self.sql(node, f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == "t"
            for node in NODES if node != self.primary), "postgres: the standbys lag")

    def after_kill(self, leader):
        """Promote the standby that received most; the other follows it."""
        one, two = [node for node in NODES if node != leader]
        received = "SELECT pg_last_wal_receive_lsn() - '0/0'"
        script = os.path.join(self.folder, "promote.sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"""export LD_LIBRARY_PATH='{self.packages.folder}/lib'
sql() {{ port=$1; shift
	'{self.bin}/psql' -qAtX -h 127.0.0.1 -p "$port" -U postgres postgres "$@" >/dev/null; }}
position() {{ '{self.bin}/psql' -qAtX -h 127.0.0.1 -p "$1" -U postgres postgres -c "{received}"; }}
next={self.port(one)} name=s{one} other={self.port(two)} other_name=s{two}
if [ "$(position $next)" -lt "$(position $other)" ]; then
	next={self.port(two)} name=s{two} other={self.port(one)} other_name=s{one}
fi
sql $next -c "SELECT pg_promote(true, 30)"
sql $next -c "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s0,s1,s2)'" \\
	-c "SELECT pg_reload_conf()"
sql $other -c "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=$next user=postgres application_name=$other_name'" \\
	-c "SELECT pg_reload_conf()"
""")
        return f"sh '{script}'"

    def restart(self, node):
        """What was the primary becomes a standby of the new one, from a new copy."""
        for other in NODES:
            if other != node and self.sql(other, "SELECT pg_is_in_recovery()") == "f":
                self.primary = other
        shutil.rmtree(self.node_folder(node))
        self.add_standby(node)
        wait_until(self.is_replicated, "postgres: the standbys do not follow")

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGQUIT)  # at once, with all of its children
        super().stop()


# ---- Redis streams ----


class Redis(Store):
    name = program = "redis"
    promise = ("synced on the primary; one replica has it in memory (WAIT 1), perhaps not on disk; "
               "no consensus: nobody takes over by himself, and what was acknowledged can be lost; "
               "everything must fit into memory")

    def version(self):
        return "Redis " + self.packages.version("usr/bin/redis-server")

    def run_node(self, node, upstream=None):
        folder = self.node_folder(node)
        os.makedirs(folder, exist_ok=True)
        follow = ["--replicaof", f"127.0.0.1 {self.port(upstream)}"] if upstream is not None else []
        self.launch(node, [
            self.packages.find("usr/bin/redis-server"), "--port", str(self.port(node)),
            "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes",
            "--appendfsync", "always", "--save", "", "--repl-diskless-sync-delay", "0",
            "--client-output-buffer-limit", "replica 0 0 0", *follow])

    def start(self):
        for node in NODES:
            self.run_node(node, None if node == 0 else 0)
            wait_until(lambda node=node: self.role(node), f"redis: node {node} does not answer")
        wait_until(self.is_replicated, "redis: the replicas do not follow")

    def command(self, node, *words):
        with socket.create_connection(("127.0.0.1", self.port(node)), timeout=5) as connection:
            connection.sendall((" ".join(words) + "\r\nQUIT\r\n").encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer.decode()

    def role(self, node):
        match = re.search(r"role:(\w+)", self.command(node, "INFO", "replication"))
        return match.group(1) if match else None

    def is_replicated(self):
        self.check_alive()
        answers = [self.command(node, "INFO", "replication") for node in NODES]
        return sum("master_link_status:up" in answer for answer in answers) == 2

    def leader(self):
        for node in NODES:
            if not self.has_ended(node) and self.role(node) == "master":
                return node
        return None

    def after_kill(self, leader):
        """The replica that received most leads; the other follows it."""
        one, two = [self.port(node) for node in NODES if node != leader]
        program = self.packages.find("usr/bin/redis-cli")
        script = os.path.join(self.folder, "promote.sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"""export LD_LIBRARY_PATH='{self.packages.folder}/lib'
cli() {{ port=$1; shift; '{program}' -h 127.0.0.1 -p "$port" "$@"; }}
position() {{ cli "$1" info replication | tr -d '\\r' | sed -n 's/^slave_repl_offset://p'; }}
next={one} other={two}
if [ "$(position $next)" -lt "$(position $other)" ]; then next={two} other={one}; fi
cli $next replicaof no one >/dev/null
cli $other replicaof 127.0.0.1 $next >/dev/null
""")
        return f"sh '{script}'"

    def restart(self, node):
        self.run_node(node, wait_until(self.leader, "redis: nobody leads"))
        wait_until(self.is_replicated, "redis: the replicas do not follow")


STORES = {store.name: store for store in (Annal, Nats, NatsSynced, Etcd, Postgres, Redis)}
