"""A power cut: once a node's process is dead, what it had not synced is taken back, by the journal that
interpose.h describes.

ALL: everything unsynced is lost. Otherwise, by chance: each write of data is lost, kept, or torn at a sector;
names and sizes are kept up to a moment, as a file system with a journal does it.

A file that was synced keeps its name (as ext4 and xfs do it), and a name in a folder that was synced stays.
"""

import collections
import os
import shutil
import struct

WRITE, WRITTEN, SYNC, SIZE, CREATED, RENAMED, UNLINKED, SYNC_FOLDER = range(1, 9)
SECTOR = 512
NOTES_FROM = 4096  # in the file hardstate: written through a mapping
Change = collections.namedtuple("Change", "kind sequence inode offset old size_before refers_to path")


def read_journal(path):
    with open(path, "rb") as file:
        data = file.read()
    at, changes = 0, []
    while at + 64 <= len(data):
        kind, sequence, inode, offset, old, before, refers, name = struct.unpack_from("<8Q", data, at)
        if at + 64 + name + old > len(data):
            break  # the process was killed while it wrote this: what it tells of did not happen
        path_end = at + 64 + name
        changes.append(
            Change(kind, sequence, inode, offset, data[path_end : path_end + old], before, refers,
                   data[at + 64 : path_end].decode())
        )
        at = path_end + old
    return changes


class Durable:
    """What the syncs of a journal cover."""

    def __init__(self, changes):
        self.writes = set()
        self.files = {}  # inode -> durable is what comes before this sequence
        self.sizes = {}
        self.folders = {}
        inode_of = {change.sequence: change.inode for change in changes if change.kind == WRITE}
        for change in changes:
            if change.kind == WRITTEN:
                self.writes.add(change.refers_to)
                self.sizes[inode_of.get(change.refers_to)] = change.refers_to
            elif change.kind == SYNC:
                self.files[change.inode] = change.refers_to
            elif change.kind == SYNC_FOLDER:
                self.folders[change.path] = change.refers_to

    def covers(self, change):
        synced = self.files.get(change.inode, 0)
        if change.kind == WRITE:
            return change.sequence in self.writes or change.sequence < synced
        if change.kind == SIZE:
            return change.sequence < max(synced, self.sizes.get(change.inode, 0))
        folder = self.folders.get(os.path.dirname(change.path), 0)
        if change.kind == CREATED:
            return change.sequence < max(folder, synced)
        return change.sequence < folder


class Disk:
    """Takes changes back, the newest first."""

    def __init__(self, journal, folder):
        self.journal = journal
        self.paths = {}
        for parent, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(parent, name)
                self.paths[os.stat(path).st_ino] = path
        self.kept = collections.defaultdict(list)  # inode -> ranges that stay

    def keep(self, change, begin=0, end=None):
        size = end if end is not None else change.refers_to
        self.kept[change.inode].append((change.offset + begin, change.offset + size))

    def undo_write(self, change, begin=0):
        path = self.paths.get(change.inode)
        if path is None:
            return False
        with open(path, "r+b") as file:
            self.put_back(file, change, begin)
            end = max((end for _, end in self.kept[change.inode]), default=0)
            if os.fstat(file.fileno()).st_size > max(change.size_before, end):
                file.truncate(max(change.size_before, end))
        return True

    def put_back(self, file, change, begin):
        """All but what a change that stays has written since."""
        at, end = change.offset + begin, change.offset + len(change.old)
        for low, high in sorted(self.kept[change.inode]):
            if at < min(low, end):
                self.put(file, change, at, min(low, end))
            at = max(at, high)
        if at < end:
            self.put(file, change, at, end)

    @staticmethod
    def put(file, change, begin, end):
        file.seek(begin)
        file.write(change.old[begin - change.offset : end - change.offset])

    def undo_name(self, change):
        kept = f"{self.journal}.{change.sequence}"
        if change.kind == CREATED:
            if os.path.exists(change.path):
                os.unlink(change.path)
            self.paths.pop(change.inode, None)
        elif change.kind == RENAMED:
            target = change.old.decode()
            if os.path.exists(target):
                os.rename(target, change.path)
            if os.path.exists(kept):
                os.rename(kept, target)
            self.paths[change.inode] = change.path
        elif os.path.exists(kept):
            os.rename(kept, change.path)
            self.paths[change.inode] = change.path
        return True


def cut(journal, folder, random=None):
    """Returns (changes taken back, changes that were not durable). random: None for ALL."""
    changes = read_journal(journal)
    durable = Durable(changes)
    disk = Disk(journal, folder)
    undone = open_changes = 0
    watched = [c for c in changes if c.kind in (WRITE, SIZE, CREATED, RENAMED, UNLINKED)]
    names = [c.sequence for c in watched if c.kind not in (WRITE,) and not durable.covers(c)]
    names_from = random.choice(names + [1 << 62]) if random else 0
    for change in reversed(watched):
        if durable.covers(change):
            if change.kind in (WRITE, SIZE):
                disk.keep(change)  # of a size: nothing but the size
            continue
        open_changes += 1
        undone += undo(disk, change, names_from, random)
    restore_notes(journal, folder, disk, random)
    return undone, open_changes


def undo(disk, change, names_from, random):
    if change.kind in (CREATED, RENAMED, UNLINKED):
        return disk.undo_name(change) if change.sequence >= names_from else False
    if change.kind == SIZE:
        return disk.undo_write(change) if change.sequence >= names_from else False
    fate = random.choice(("lost", "kept", "torn")) if random else "lost"
    if fate == "kept":
        disk.keep(change)
        return False
    if fate == "torn":
        begin = random.randrange(0, change.refers_to // SECTOR + 1) * SECTOR
        disk.keep(change, 0, begin)
        return disk.undo_write(change, begin)
    return disk.undo_write(change)


def restore_notes(journal, folder, disk, random):
    """What was written through a mapping since the last sync."""
    path = os.path.join(folder, "hardstate")
    if not os.path.exists(path) or (random and random.random() < 0.5):
        return
    copy = f"{journal}.inode-{os.stat(path).st_ino}"
    if not os.path.exists(copy):
        return
    with open(copy, "rb") as file:
        old = file.read()
    with open(path, "r+b") as file:
        file.seek(NOTES_FROM)
        file.write(old[NOTES_FROM:])


def clean(journal):
    folder, name = os.path.split(journal)
    for entry in os.listdir(folder):
        if entry == name or entry.startswith(name + "."):
            os.unlink(os.path.join(folder, entry))


def keep_copy(folder, to):
    """Of a data folder, for whoever looks into a failure."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
