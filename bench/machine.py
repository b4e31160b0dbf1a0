"""The machine a figure belongs to, and what processes use of it (read from ``/proc``)."""

import os
import platform
from pathlib import Path
from typing import Any

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def describe_machine(redis_version: str = "") -> dict[str, Any]:
    """What the figures depend on. ``load`` is the load average of the last minute, now."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis": redis_version,
        "load": round(os.getloadavg()[0], 2),
    }


def cpu_s(pid: int) -> float:
    """Processor seconds a process has used, all threads; 0 if it is gone or /proc is missing."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND if fields else 0.0


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 if it is gone or /proc is missing."""
    fields = _stat(pid)
    return int(fields[21]) * PAGE_BYTES if fields else 0


def open_files(pid: int) -> int:
    """Open files and sockets of a process; 0 if it is gone or /proc is missing."""
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208 - only the count matters
    except OSError:
        return 0


def children(pid: int) -> list[int]:
    """The processes that this one started and that live."""
    found = []
    for entry in PROC.glob("[0-9]*") if PROC.exists() else ():
        fields = _stat(int(entry.name))
        if fields and int(fields[1]) == pid:
            found.append(int(entry.name))
    return sorted(found)


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` behind the name (proc(5): field 3 is the first)."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_model() -> str:
    try:
        lines = (PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES
