"""Everything that this process has started, whoever started it for us and however deep.

What loses its parent becomes our child: so a node that a script has put into a session of its own is never out of
reach, even when the script was killed before it could write down the node's pid.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
MNT_DETACH = 2
QUIET_LOOKS = 25  # so often nobody was found: a thread may have been about to start one

libc = ctypes.CDLL(None, use_errno=True)
ending = threading.Event()


class Ending(Exception):
    """What a thread gets that would start a process although all of them are to end."""


def adopt():
    """Before anything is started."""
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    sys.addaudithook(refuse_when_ending)
    report = threading.excepthook
    threading.excepthook = lambda hook: None if ending.is_set() else report(hook)


def refuse_when_ending(event, _):
    if event == "subprocess.Popen" and ending.is_set():
        raise Ending("everything that runs is being ended")


def processes():
    """pid -> (pid of its parent, whether it is a zombie)"""
    found = {}
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                state, parent = file.read().rsplit(")", 1)[1].split()[:2]
            found[int(name)] = int(parent), state == "Z"
        except (OSError, ValueError, IndexError):
            pass  # no process, or it has gone
    return found


def running():
    """The pids of all that descends from us and has not ended."""
    found, ours = processes(), {os.getpid()}
    while True:
        more = {pid for pid, (parent, _) in found.items() if parent in ours} - ours
        if not more:
            return sorted(pid for pid in ours if pid != os.getpid() and not found[pid][1])
        ours |= more


def name_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def kill_all():
    """Also what they start meanwhile."""
    quiet = 0
    while quiet < QUIET_LOOKS:
        pids = running()
        quiet = 0 if pids else quiet + 1
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def reap():
    """Adopted children that have ended. Not while a thread of ours waits for a child of its own."""
    for pid, (parent, is_zombie) in processes().items():
        if parent == os.getpid() and is_zombie:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def end_on_signals(numbers, folder):
    """One of these signals ends the whole family, takes away mounts below the folder, and then ends us.

    A thread does it, whatever the others are at: an exception in the main thread would come when that thread runs
    again, pass through whatever it is in the middle of, and leave the end to the interpreter.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    threading.Thread(target=wait_for_signal, args=(reader, folder), daemon=True, name="family").start()


def wait_for_signal(reader, folder):
    number = os.read(reader, 1)[0]
    ending.set()
    kill_all()
    unmount_below(folder)
    name = signal.Signals(number).name
    try:  # past sys.stdout, whose lock a thread may hold
        os.write(1, f"\nended by {name}: nothing runs any more, what there was is in {folder}\n".encode())
    finally:
        os._exit(128 + number)


def rest_if_ending():
    """For the main thread: there is nothing to be said about what was broken off."""
    while ending.is_set():
        time.sleep(1)


def unmount_below(folder):
    """Mounts that a fault had no time to take away."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4].encode().decode("unicode_escape") for line in file]
    for point in points:
        if point.startswith(os.path.join(folder, "")):
            libc.umount2(os.fsencode(point), MNT_DETACH)
