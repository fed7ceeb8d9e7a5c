"""To which stage of the data path a sample belongs: by the thread, and by the frames on its stack.

The first rule that has one of its frames on the stack counts, wherever it is; the last one of a thread takes
what is left. docs/architecture.md says what the stages do.
"""

FRESH = ("memory touched for the first time (page faults)", ("asm_exc_page_fault",))
SWITCH = ("waiting and waking: epoll, futex", ("do_epoll_wait", "do_futex", "eventfd_write", "schedule", "epoll_wait"))

LOOP = (
    FRESH,
    ("log: checksum inside libraft (CRC)", ()),  # checksum_frame()
    ("log: giving writes to the disk", ("__x64_sys_io_submit", "io_getevents", "__x64_sys_io_getevents")),
    ("sockets: receiving", ("sock_recvmsg", "__sys_recvfrom", "sock_read_iter")),
    ("sockets: sending", ("sock_sendmsg", "____sys_sendmsg", "sock_write_iter")),
    SWITCH,
    ("entries: copy for the apply thread", ("on_command",)),
    ("entries: checked (XXH3)", ("payload_open",)),
    ("entries: packed (LZ4)", ("pack_batch",)),
    ("entries: built, sealed, proposed", ("propose_flush",)),
    ("log: the rest of an append", ("guard_write_waiting", "io_append", "on_written")),
    ("requests: found, decoded, encoded as records", ("session_receive",)),
    ("answers", ("propose_applied", "request_answer_result")),
    ("messages between nodes", ("transport_on_read", "on_frame", "io_receive", "transport_send", "guard_send")),
    ("libraft and libuv, the rest", ("raft_apply", "uv_run")),
    ("else", None),
)
APPLY = (
    FRESH,
    SWITCH,
    ("apply: unpacked (LZ4)", ("pack_open",)),
    ("apply: asked for ahead of use", ("ahead_step",)),
    ("apply: answers encoded", ("on_decided",)),
    ("apply: commands parsed", ("command_parse",)),
    ("apply: decided", ("machine_decide",)),
    ("apply: into the tail", ("tail_add",)),
    ("apply: stamped, hashed", ("machine_stamp", "XXH3_64bits_withSeed")),
    ("apply: else", None),
)
FLUSH = (
    ("flush: into the page cache", ("ext4_buffered_write_iter",)),
    ("flush: synced", ("__x64_sys_fdatasync", "__x64_sys_fsync", "__x64_sys_msync", "ext4_sync_file")),
    FRESH,
    ("flush: blocks", ("put_blocks",)),
    ("flush: lists", ("put_lists",)),
    ("flush: ids", ("put_ids",)),
    ("flush: freeing the generation", ("generation_free", "tail_recycle")),
    ("flush: else", None),
)
HELPERS = (("libuv's pool: files of the log", None),)
THREADS = {"apply": APPLY, "flush": FLUSH, "loop": LOOP, "helper": HELPERS}
CHECKSUM = LOOP[1][0]


def thread_of(sample):
    if sample.name in ("apply", "flush"):
        return sample.name
    return "loop" if sample.thread == sample.process else "helper"


def checksum_frame(samples):
    """libraft has no symbol for its CRC: it is where an append spends most, at the top of the stack."""
    tops = {}
    for sample in samples:
        top = sample.frames[-1]
        if top.startswith("libraft+") and ("io_append" in sample.frames or len(sample.frames) <= 2):
            tops[top] = tops.get(top, 0) + 1
    return max(tops, key=tops.get) if tops else None


def stage_of(sample, checksum):
    """(thread, stage)"""
    thread = thread_of(sample)
    frames = set(sample.frames)
    if thread == "loop" and sample.frames[-1] == checksum:
        return thread, CHECKSUM
    for stage, wanted in THREADS[thread]:
        if wanted is None or frames.intersection(wanted):
            return thread, stage
    raise AssertionError("the last rule takes everything")


def all_stages():
    for thread in ("loop", "apply", "flush", "helper"):
        for stage, _ in THREADS[thread]:
            yield thread, stage
