"""One process of which the n-th call of a kind fails: how it is started, how it ended, whether that was well."""

import collections
import os
import re
import signal
import struct
import subprocess
import time

import errno as errnos

# Of each kind of call, in the order of fail.h, what it may end with. A plus: this call and all that follow it.
KINDS = {
    "alloc": ["ENOMEM"],
    "map": ["ENOMEM"],
    "open": ["EMFILE", "EIO"],
    "read": ["EIO"],
    "write": ["ENOSPC", "EIO", "ENOSPC+"],
    "sync": ["EIO", "EIO+"],
    "truncate": ["ENOSPC", "EIO"],
    "allocate": ["ENOSPC", "EINTR", "ENOSPC+"],
    "rename": ["EIO", "ENOSPC"],
    "unlink": ["EIO"],
    "mkdir": ["ENOSPC", "EIO"],
    "stat": ["EIO", "ENOMEM"],
    "lock": ["ENOLCK", "EIO"],
    "aio-setup": ["EAGAIN", "ENOMEM"],
    "aio-submit": ["EIO", "ENOSPC", "EAGAIN"],
    "aio-result": ["EIO", "ENOSPC", "ENOSPC+"],
    "socket": ["EMFILE", "ENOBUFS"],
    "bind": ["EADDRINUSE", "EACCES"],
    "accept": ["EMFILE", "ECONNABORTED", "EINTR"],
    "connect": ["ECONNREFUSED", "ENETUNREACH"],
    "option": ["ENOBUFS"],
    "send": ["ECONNRESET", "EINTR", "ENOBUFS"],
    "receive": ["ECONNRESET", "EINTR", "ENOMEM"],
    "resolve": ["ENOMEM", "EIO"],
    "epoll-create": ["EMFILE"],
    "epoll-ctl": ["ENOSPC", "ENOMEM"],
    "wait": ["EINTR"],
    "pipe": ["EMFILE"],
    "thread": ["EAGAIN"],
}
# Where libuv and libraft say it in other words than the C library.
OTHER_WORDS = {
    "EIO": ["i/o error"],
    "ENOMEM": ["not enough memory", "memory allocation failure"],
    "ENOSPC": ["not enough space"],
    "EAGAIN": ["user limit exceeded"],
}
COUNT = "count"
PERSISTENT = 1 << 40
TEXT_BYTES = 3072
END_SECONDS = 20  # for a process to end that was asked to, or that is about to

# What annald may end with after a failure: never "damaged" or "of another cluster", which cost the data.
ENDS_OF_NODE = {1, 2, 3, 70, 71}
CLEAN_ENDS = {70, 71}


class Defect(Exception):
    """What must not happen."""


class Strike(collections.namedtuple("Strike", "kind error nth")):
    """Which call fails, and how."""

    def __str__(self):
        return f"{self.kind}:{self.error}:{self.nth}"

    def number(self):
        if self.kind == COUNT:
            return 0
        return getattr(errnos, self.error.rstrip("+"))

    def environment(self, library, report):
        last = PERSISTENT if self.error.endswith("+") else self.nth
        return {
            **os.environ,
            "LD_PRELOAD": library,
            "FAIL_KIND": self.kind,
            "FAIL_NTH": str(self.nth),
            "FAIL_LAST": str(last),
            "FAIL_ERRNO": str(self.number()),
            "FAIL_REPORT": report,
        }


class Report:
    """What the library tells of a process."""

    def __init__(self, path):
        self.counts, self.struck, self.call, self.about, self.frames = {}, 0, "", "", []
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        head = 8 * (1 + len(KINDS))
        if len(data) < head:
            return
        self.struck, *counts = struct.unpack_from(f"<{1 + len(KINDS)}Q", data)
        self.counts = dict(zip(KINDS, counts))
        lines = data[head : head + TEXT_BYTES].split(b"\0")[0].decode(errors="replace").split("\n")
        self.call, _, self.about = lines[0].partition("\t")
        for line in lines[1:]:
            module, plus, offset = line.rpartition("+")
            if plus:
                self.frames.append((module, offset))


class Process:
    """A program under a strike (None: under none), its output and its messages in files of their own: a message may
    follow a line that could not be written whole."""

    def __init__(self, command, strike, library, folder, cwd=None):
        self.report_path = os.path.join(folder, "report")
        self.log_paths = [os.path.join(folder, name) for name in ("output", "log")]
        self.strike = strike
        environment = strike.environment(library, self.report_path) if strike else None
        with open(self.log_paths[0], "wb") as output, open(self.log_paths[1], "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=environment, cwd=cwd
            )

    def runs(self):
        return self.process.poll() is None

    def output(self):
        parts = []
        for path in self.log_paths:
            with open(path, encoding="utf-8", errors="replace") as file:
                parts.append(file.read())
        return "\n".join(parts)

    def report(self):
        return Report(self.report_path)

    def wait(self, seconds, doing):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Defect(f"hangs: {doing} took more than {seconds} s") from None

    def end(self, doing="the end after SIGTERM", seconds=END_SECONDS):
        if self.runs():
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds, doing)

    def kill(self):
        if self.runs():
            self.process.kill()
        self.process.wait()

    # ---- verdicts ----

    def check_code(self, allowed):
        """How it ended is among what is documented, and was said."""
        code = self.process.poll()
        if code is None:
            raise Defect("still runs")
        if code < 0:
            raise Defect(f"ended by {signal.Signals(-code).name}")
        if code not in allowed and code != 0:
            raise Defect(f"exit code {code}")
        if self.strike.kind == COUNT and code != 0 or code != 0 and not self.report().struck:
            raise Defect(f"exit code {code} though nothing failed: {self.output().strip()}")
        if code != 0:
            self._check_message(code)
        return code

    def _check_message(self, code):
        output = self.output()
        lines = [line for line in output.splitlines() if re.search(r"^annald?: |^orders: |^store: | error ", line)]
        if not lines:
            raise Defect(f"exit code {code} without a message")
        if code == 70:
            if "out of memory" not in output and "cannot start a thread" not in output:
                raise Defect(f"exit code 70, but the message is: {lines[-1]}")
            return
        report = self.report()
        reasons = [os.strerror(self.strike.number()), *OTHER_WORDS.get(self.strike.error.rstrip("+"), [])]
        if any("libraft" in module for module, _ in report.frames):
            reasons.append("I/O error")  # which it says of all that it has no words for
        if self.strike.kind == "aio-submit":
            reasons.append(os.strerror(errnos.EAGAIN))  # see raft/slow_syscall.h
        told = "\n".join(lines).lower()
        if not any(reason.lower() in told for reason in reasons):
            raise Defect(f"the message does not say \"{reasons[0]}\": {lines[-1]}")


def wait_until(done, seconds, doing, process=None):
    """Until done() is true; a Defect when it takes too long. False: the process has ended meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        if process is not None and not process.runs():
            return False
        time.sleep(0.01)
    raise Defect(f"hangs: {doing} took more than {seconds} s")
