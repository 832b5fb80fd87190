"""What a process cost: time on a core and memory, from the operating system's own books (Linux)."""

import os
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Tell how long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Tell how much memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid: int) -> list[int]:
    """List what a process has started and what runs."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
