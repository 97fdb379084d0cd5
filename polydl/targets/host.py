"""What the operating system says about the machine we run on.

Only feature flags are trusted: virtual machines mask CPUID leaves, so that model names (and every table keyed by
them) lie. Whatever cannot be read falls back to small, safe numbers.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Caches", "cache_sizes", "core_count", "cpu_flags", "machine"]

_CPUINFO: Final = Path("/proc/cpuinfo")
_CPUS: Final = Path("/sys/devices/system/cpu")
_UNITS: Final = {"K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True, slots=True)
class Caches:
    """Bytes per core of each level; the line size in bytes."""

    l1d: int = 32 * 1024
    l2: int = 256 * 1024
    l3: int = 1024 * 1024
    line: int = 64


def machine() -> str:
    """The architecture as the kernel names it: "x86-64", "aarch64" or something we have no target for."""
    name = platform.machine().lower()
    return {"x86_64": "x86-64", "amd64": "x86-64", "arm64": "aarch64"}.get(name, name)


def cpu_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Linux's feature flags of the first CPU, in Linux's spelling; empty where they cannot be read."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def core_count(cpus: Path = _CPUS) -> int:
    """Physical cores this process may run on (hyper-threads of one core share its FMA units and count once)."""
    try:
        allowed = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return max(1, os.cpu_count() or 1)
    siblings = set()
    for cpu in allowed:
        try:
            siblings.add((cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def cache_sizes(cpus: Path = _CPUS) -> Caches:
    """Cache bytes per core, from sysfs; the conservative defaults of `Caches` for what is not told."""
    found: dict[str, int] = {}
    line = Caches().line
    for index in sorted((cpus / "cpu0" / "cache").glob("index*")):
        try:
            level = (index / "level").read_text().strip()
            kind = (index / "type").read_text().strip()
            size = _parse_size((index / "size").read_text().strip())
            shared = _count_list((index / "shared_cpu_list").read_text().strip())
        except (OSError, ValueError):
            continue
        if kind == "Instruction" or size <= 0:
            continue
        threads = _count_list(_read(cpus / "cpu0" / "topology" / "thread_siblings_list", "0"))
        found["l1d" if level == "1" else f"l{level}"] = size // max(1, shared // max(1, threads))
        try:
            line = int(_read(index / "coherency_line_size", str(line)))
        except ValueError:
            continue
    base = Caches()
    return Caches(found.get("l1d", base.l1d), found.get("l2", base.l2), found.get("l3", base.l3), line)


def _read(path: Path, default: str) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return default


def _parse_size(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]] if text and text[-1] in _UNITS else int(text)


def _count_list(text: str) -> int:
    """The number of CPUs in a list like `0-3,8`."""
    total = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total
