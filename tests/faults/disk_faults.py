"""Faults of disks: full, failing, slow; power cuts; damage at rest."""

import errno
import os
import re
import subprocess
import time

import nodes
import powercut
from annal_rpc import ConnectionLost, NoAnswer, RpcError
from cluster import ClusterError, program
from faults import Fault, kill_at_once
from member_faults import replace

EXIT_DAMAGE = 4


class DiskFault(Fault):
    """Orders to the library of one node."""

    def control(self, number):
        return self.cluster.controls[number]

    def wait_end(self, number, seconds):
        """True when the process ends within that time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.cluster[number].pid() is None:
                return True
            time.sleep(0.02)
        return False


class DiskError(DiskFault):
    name, about = "disk-error", "writes to the log, to tables, or syncs fail with EIO"
    error, allocate = errno.EIO, 0

    def strike(self):
        number = self.claim()
        if number is None:
            return
        kinds = self.random.choice(self.kinds())
        after = self.random.choice((0, 0, 3, 20))
        with self.plan(errno.errorcode[self.error], node=number, kinds=kinds, after=after):
            control = self.control(number)
            before = control.failures()
            control.fail(kinds, self.error, after)
            self.wait_end(number, self.random.uniform(1, 3))
            failed = control.failures() > before
            ended = self.wait_end(number, 1.0 if failed else 0)
            control.fail(0, 0)
            self.hit(failed, "node stopped" if ended else "node went on")
            if ended and self.ended_cleanly(number) is not None:
                self.revive(number)
        self.release(number)

    def kinds(self):
        return (nodes.LOG, nodes.WRITE, nodes.SYNC, nodes.LOG | nodes.WRITE | nodes.SYNC)


class DiskFull(DiskError):
    name, about = "disk-full", "ENOSPC without a warning: writes, and the room for new segments"
    error = errno.ENOSPC

    def kinds(self):
        return (nodes.ALLOCATE, nodes.WRITE | nodes.ALLOCATE, nodes.LOG | nodes.ALLOCATE)


class DiskLow(DiskFault):
    name, about = "disk-low", "less free space than disk-free-bytes: the node is to refuse, and go on later"

    def strike(self):
        number = self.claim()
        if number is None:
            return
        with self.plan("low", node=number):
            control = self.control(number)
            before = control.get(nodes.FREE_ASKED)
            control.set(nodes.FREE_BYTES, 1 + (1 << 20))
            self.hold(1.5, 4)
            alive = self.cluster[number].pid() is not None
            control.set(nodes.FREE_BYTES, 0)
            self.hit(alive and control.get(nodes.FREE_ASKED) > before)
        self.release(number)


class SmallDisk(DiskFault):
    name = "small-disk"
    about = "a file system of its own (tmpfs) for one node, filled to the last byte; needs root"
    needs_root = True
    rest = (1, 2)
    BYTES = 384 << 20

    def strike(self):
        number = self.claim()
        if number is None:
            return
        node = self.cluster[number]
        leave = self.random.choice((0, 0, 32 << 20))
        with self.plan("fill", node=number, leave=leave):
            self.on_small_disk(node)
            self.revive(number)
            filler = os.path.join(node.folder, "full", "filler")
            full = self.fill(filler, leave)
            self.hold(2, 5)
            ended = node.pid() is None
            os.unlink(filler)
            self.hit(full, "node stopped" if ended else "node went on")
            if ended:
                self.ended_cleanly(number)
            node.stop()
            self.off_small_disk(node)
            self.revive(number)
        self.release(number)

    def on_small_disk(self, node):
        """The data moves there; the folder becomes a link to it."""
        node.stop()
        mount = os.path.join(node.folder, "full")
        os.makedirs(mount, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.BYTES}", "annal", mount], check=True)
        self.arena.mounts.append(mount)
        subprocess.run(["cp", "-a", node.data, os.path.join(mount, "data")], check=True)
        os.rename(node.data, node.data + ".disk")
        os.symlink(os.path.join(mount, "data"), node.data)

    def off_small_disk(self, node):
        mount = os.path.join(node.folder, "full")
        os.unlink(node.data)
        subprocess.run(["cp", "-a", os.path.join(mount, "data"), node.data], check=True)
        subprocess.run(["umount", mount], check=True)
        self.arena.mounts.remove(mount)
        subprocess.run(["rm", "-r", node.data + ".disk"], check=True)

    def fill(self, path, leave):
        with open(path, "wb") as file:
            found = os.statvfs(os.path.dirname(path))
            left = found.f_bavail * found.f_frsize - leave
            try:
                while left > 0:
                    left -= file.write(bytes(min(left, 1 << 20)))
                    file.flush()
            except OSError as error:
                return error.errno == errno.ENOSPC
        return left <= 0


class DiskSlow(DiskFault):
    name, about = "disk-slow", "each write and sync of one node takes 2 to 40 ms more"

    def strike(self):
        number = self.claim()
        if number is None:
            return
        delay_us = int(self.random.uniform(2000, 40000))
        with self.plan("slow", node=number, us=delay_us):
            control = self.control(number)
            before = control.get(nodes.DELAYED)
            control.set(nodes.DELAY_US, delay_us)
            self.hold(1, 6)
            control.set(nodes.DELAY_US, 0)
            self.hit(control.get(nodes.DELAYED) > before)
        self.release(number)


class DiskStall(DiskSlow):
    name, about = "disk-stall", "writes and syncs of one node take one to two seconds"

    def strike(self):
        number = self.claim()
        if number is None:
            return
        delay_us = int(self.random.uniform(1000000, 2000000))
        with self.plan("stall", node=number, us=delay_us):
            control = self.control(number)
            before = control.get(nodes.DELAYED)
            control.set(nodes.DELAY_US, delay_us)
            self.hold(1, 3)
            control.set(nodes.DELAY_US, 0)
            self.hit(control.get(nodes.DELAYED) > before)
            time.sleep(delay_us / 1e6)  # for the last one
        self.release(number)


# ---- power cuts ----


class PowerCut(Fault):
    name, about = "power-cut", "one node loses power: what it had not synced is gone, all or a part of it, or torn"
    needs_journal = True

    def strike(self):
        number = self.claim()
        if number is not None:
            self.cut([number])

    def cut(self, numbers):
        in_part = self.random.random() < 0.6
        with self.plan("power cut", node=numbers[0] if len(numbers) == 1 else 0, part=in_part):
            self.slow_down(numbers, 20000)  # so that some of it is under way
            self.hold(0.1, 0.6)
            kill_at_once(self.cluster, numbers)
            undone, lost = 0, 0
            for number in numbers:
                journal = self.cluster.journal(number)
                if not os.path.exists(journal):
                    continue
                some, of = powercut.cut(
                    journal, self.cluster[number].data, self.random if in_part else None
                )
                undone, lost = undone + some, lost + of
                powercut.clean(journal)
            self.details["writes taken back"] = self.details.get("writes taken back", 0) + undone
            self.details["writes not synced"] = self.details.get("writes not synced", 0) + lost
            self.hit(lost > 0)
            self.slow_down(numbers, 0)
            self.hold(0.1, 1.5)
            self.restart(numbers)
        self.release(*numbers)

    def slow_down(self, numbers, delay_us):
        for number in numbers:
            self.cluster.controls[number].set(nodes.DELAY_US, delay_us)

    def restart(self, numbers):
        try:
            self.cluster.run("restart", *map(str, numbers))
        except ClusterError as error:
            for number in numbers:
                if self.cluster[number].pid() is None:
                    kept = os.path.join(self.cluster.parent, f"refused-node-{number}")
                    powercut.keep_copy(self.cluster[number].data, kept)
            raise error


class PowerCutAll(PowerCut):
    name, about = "power-cut-all", "all nodes lose power at once"
    rest = (1, 3)

    def strike(self):
        numbers = self.arena.claim_all()
        if numbers:
            self.cut(numbers)


# ---- damage at rest ----

FILES = {
    "open segment": r"raft/open-\d+",
    "closed segment": r"raft/\d{16}-\d{16}",
    "metadata": r"raft/metadata\d",
    "snapshot": r"raft/snapshot-\d+-\d+-\d+",
    "snapshot meta": r"raft/snapshot-\d+-\d+-\d+\.meta",
    "hard state": r"hardstate",
    "tables": r"store/data\.mdb",
    "peers": r"peers",
    "cluster name": r"cluster",
}


class Damage(DiskFault):
    """The node must refuse to start, or repair it, or notice it when it reads it; never serve it."""

    rest = (0.2, 1)
    allowed = ("INTERNAL",)  # of the damaged node alone
    change = None

    def __init__(self, arena, random):
        super().__init__(arena, random)
        self.turn = []

    def strike(self):
        number = self.claim()
        if number is None:
            return
        node = self.cluster[number]
        with self.plan(self.name, node=number) as plan:
            self.world.allowed.add((number, "INTERNAL"))
            self.random.choice((node.kill, node.stop))()
            found = self.choose_file(node)
            if found is None:
                self.revive(number)
                self.release(number)
                return
            kind, path = found
            plan.update(kind=kind, **self.damage(path))
            self.judge(number, kind, plan)

    def choose_file(self, node):
        """Each kind in turn; (kind, path), None when there is none of that kind."""
        if not self.turn:
            self.turn = self.random.sample(sorted(FILES), len(FILES))
        kind = self.turn.pop()
        paths = []
        for parent, _, names in os.walk(node.data):
            paths += [os.path.join(parent, name) for name in names]
        paths = [
            path
            for path in sorted(paths)
            if re.fullmatch(FILES[kind], os.path.relpath(path, node.data)) and used_bytes(path)
        ]
        return (kind, self.random.choice(paths)) if paths else None

    def judge(self, number, kind, plan):
        """Start it, read all of it. A node that found the damage is replaced, one that did not goes on:
        then what it holds is compared at the end."""
        verdict = self.start_and_read(number)
        plan["verdict"] = verdict
        self.hit(True, f"{kind}: {verdict}")
        if verdict == "goes on":
            self.release(number)
            return
        self.ended_or_says(number)
        replace(self, number)
        self.release(number)

    def start_and_read(self, number):
        node = self.cluster[number]
        try:
            node.restart()
        except ClusterError:
            if node.pid() is None:
                return "refused"
            raise
        try:
            self.cluster.read_all(node, system=True)
        except (OSError, ConnectionLost, NoAnswer, RpcError):
            ended = self.wait_end(number, 2)
            return "found when it was opened" if ended else "found on reading"
        return "goes on" if node.pid() is not None else "found while running"

    def ended_or_says(self, number):
        """A refusal has an exit code and a message; a crash is none."""
        node = self.cluster[number]
        if node.pid() is None and self.ended_cleanly(number):
            code = self.cluster.controls[number].exit_code()
            self.details[f"exit code {code}"] = self.details.get(f"exit code {code}", 0) + 1
        if not re.search(r"annald: |level=error|\berror\b", node.log_text()[-4000:]):
            self.world.problem("silent", f"node {number} says nothing about its damage")

    def damage(self, path):
        raise NotImplementedError


def used_bytes(path):
    """Up to the last byte that is not zero."""
    with open(path, "rb") as file:
        return len(file.read().rstrip(b"\0"))


class BitFlip(Damage):
    name, about = "bit-flip", "one bit of a file of a stopped node, each kind of file in turn"

    def damage(self, path):
        offset = self.random.randrange(used_bytes(path))
        bit = 1 << self.random.randrange(8)
        with open(path, "r+b") as file:
            file.seek(offset)
            old = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([old ^ bit]))
        return {"file": os.path.basename(path), "offset": offset, "bit": bit}


class Truncation(Damage):
    name, about = "truncation", "a file of a stopped node cut short, or emptied, each kind of file in turn"

    def damage(self, path):
        size = self.random.choice((0, self.random.randrange(used_bytes(path))))
        os.truncate(path, size)
        return {"file": os.path.basename(path), "size": size}


def verify(node):
    """`annald verify` of a stopped node: (exit code, what it printed)."""
    done = subprocess.run(
        [program("annald"), "verify", node.data], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr
