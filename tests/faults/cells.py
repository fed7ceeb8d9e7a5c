"""Which faults there are, and which cells are made of them."""

import disk_faults as disk
import faults as basic
import member_faults as member
import packet_faults as packet
import stall_faults as stall

KINDS = {
    kind.name: kind
    for kind in (
        basic.Kill, basic.KillLeader, basic.KillAll, basic.Pause, basic.PauseLeader,
        basic.RollingRestart, basic.Upgrade,
        basic.Partition, basic.PartitionLeader, basic.OneWay, basic.BrokenLink, basic.Delay, basic.Cuts,
        basic.SlowLink, packet.Loss, packet.Scrambled, packet.HalfOpen, packet.Witness,
        disk.DiskLow, disk.DiskFull, disk.SmallDisk, disk.DiskError, disk.DiskSlow, disk.DiskStall,
        stall.StalledFollower, stall.StalledLeader,
        disk.PowerCut, disk.PowerCutAll, disk.BitFlip, disk.Truncation,
        member.ClockJump, member.ClockDrift, member.FewFiles, member.LittleMemory,
        basic.SlowReader, basic.SlowLoris,
        member.Grow, member.Replace, member.Transfer,
    )
}

PAIRS = (
    "kill+partition", "kill-leader+clock-jump", "kill-leader+slow-reader", "kill+bit-flip", "kill-all+delay",
    "pause+disk-slow", "pause-leader+one-way", "rolling-restart+cuts", "upgrade+slow-loris",
    "partition+disk-full", "partition-leader+disk-error", "partition+grow", "broken-link+transfer",
    "power-cut+pause", "power-cut+partition", "power-cut-all+kill-leader", "power-cut-all+slow-link",
    "grow+kill", "replace+disk-stall", "truncation+delay", "clock-drift+partition", "few-files+kill",
    "little-memory+one-way", "disk-low+transfer", "loss+kill-leader", "scrambled+grow", "half-open+delay",
)

SHORT = (
    "kill-leader", "partition", "power-cut-all", "bit-flip", "disk-error", "grow+kill", "one-way+pause",
    "clock-jump+disk-slow",
)


def parse(name):
    """The kinds that a cell's name stands for."""
    kinds = []
    for part in name.split("+"):
        if part not in KINDS:
            raise ValueError(f"there is no fault {part!r}: see --list")
        kinds.append(KINDS[part])
    return kinds


def all_pairs():
    names = sorted(KINDS)
    return [f"{a}+{b}" for index, a in enumerate(names) for b in names[index + 1 :]]
