"""Targets by name, and the host's own."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Final

from polydl.errors import UnknownTarget
from polydl.targets import host
from polydl.targets.target import Arch, Target

__all__ = ["native", "parse", "target_names"]

# Linux's flag -> LLVM's feature, for the flags that code generation can use.
_X86_FEATURES: Final = {
    "sse2": "sse2", "pni": "sse3", "ssse3": "ssse3", "sse4_1": "sse4.1", "sse4_2": "sse4.2", "popcnt": "popcnt",
    "cx16": "cx16", "lahf_lm": "sahf", "movbe": "movbe", "abm": "lzcnt", "bmi1": "bmi", "bmi2": "bmi2",
    "avx": "avx", "avx2": "avx2", "fma": "fma", "f16c": "f16c",
    "avx512f": "avx512f", "avx512bw": "avx512bw", "avx512cd": "avx512cd", "avx512dq": "avx512dq",
    "avx512vl": "avx512vl", "avx512_vnni": "avx512vnni", "avx512_bf16": "avx512bf16", "avx512_fp16": "avx512fp16",
    "avx512vbmi": "avx512vbmi", "avx512_vbmi2": "avx512vbmi2", "avx_vnni": "avxvnni",
    "amx_tile": "amx-tile", "amx_int8": "amx-int8", "amx_bf16": "amx-bf16",
}  # fmt: skip
_ARM_FEATURES: Final = {
    "asimd": "neon", "fp": "fp-armv8", "asimdhp": "fullfp16", "asimddp": "dotprod", "i8mm": "i8mm", "bf16": "bf16",
}  # fmt: skip

# The psABI levels: LLVM's CPU name and what it takes.
_V2: Final = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3: Final = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4: Final = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
_LEVELS: Final = (("x86-64-v4", _V4), ("x86-64-v3", _V3), ("x86-64-v2", _V2), ("x86-64", ("sse2",)))

# Cross targets are described by machines of their class: 48 KB L1d / 1-2 MB L2 for AVX-512 servers (Ice Lake, Zen 4,
# Zen 5 have 32-48 KB and 1-2 MB), 32 KB / 256-512 KB for AVX2, 64 KB / 1 MB for Neoverse. The smaller value of the
# class is taken: a tile that fits the small cache also fits the large one, not the other way round.
_CACHES: Final = {
    "x86-64": host.Caches(),
    "x86-64-avx2": host.Caches(32 * 1024, 512 * 1024, 2 * 1024**2),
    "x86-64-avx512": host.Caches(32 * 1024, 1024**2, 1024**2 + 384 * 1024),
    "aarch64": host.Caches(64 * 1024, 1024**2, 1024**2),
}
_NAMED_FEATURES: Final = {
    "x86-64": ("sse2",),
    "x86-64-avx2": _V3,
    "x86-64-avx512": _V4,
    "aarch64": ("fp-armv8", "neon"),
}


def target_names() -> tuple[str, ...]:
    """The names `parse` knows; each may be followed by `+feature`."""
    return ("native", *_NAMED_FEATURES)


def native() -> Target:
    """The machine we run on, by its features."""
    arch = host.machine()
    if arch not in ("x86-64", "aarch64"):
        raise UnknownTarget(
            f"no native target for the architecture '{arch}'",
            next=f"name one of {', '.join(_NAMED_FEATURES)}",
        )
    flags = host.cpu_flags()
    table = _X86_FEATURES if arch == "x86-64" else _ARM_FEATURES
    features = {table[flag] for flag in flags if flag in table}
    features |= set(_NAMED_FEATURES[arch])  # the architecture's own minimum, should nothing be readable
    target = _build("native", "x86-64" if arch == "x86-64" else "aarch64", features, host.cache_sizes())
    return replace(target, cores=host.core_count())


def parse(text: str) -> Target:
    """The target called `text`: a name of `target_names()`, then any number of `+feature` (LLVM's names)."""
    name, *extra = text.strip().split("+")
    known = set(_X86_FEATURES.values()) | set(_ARM_FEATURES.values())
    if name not in target_names():
        raise UnknownTarget(
            f"unknown target '{name}'", next=f"use one of {', '.join(target_names())}, or NAME+feature"
        )
    base = native() if name == "native" else None
    arch: Arch = base.arch if base else "aarch64" if name == "aarch64" else "x86-64"
    usable = set((_X86_FEATURES if arch == "x86-64" else _ARM_FEATURES).values())
    for feature in extra:
        if feature not in usable:
            why = f"it is a feature of another architecture than {arch}" if feature in known else ""
            raise UnknownTarget(
                f"unknown target feature '{feature}'",
                where=text,
                why=why,
                next=f"use any of {', '.join(sorted(usable))}",
            )
    if base is not None:
        caches = host.Caches(base.l1d_bytes, base.l2_bytes, base.l3_bytes, base.line_bytes)
        return replace(_build(text, arch, {*base.features, *extra}, caches), cores=base.cores)
    cores = max(1, os.cpu_count() or 1)
    return replace(_build(text, arch, {*_NAMED_FEATURES[name], *extra}, _CACHES[name]), cores=cores)


def _build(name: str, arch: Arch, features: set[str], caches: host.Caches) -> Target:
    if arch == "aarch64":
        cpu, vector_bytes, registers, fma = "generic", 16, 32, True
    else:
        features = features | {"sse2"}
        cpu = next(level for level, needs in _LEVELS if features.issuperset(needs))
        # Wider vectors are used only with all that makes them complete: AVX without AVX2 has no integer vectors, and
        # AVX-512 without BW/DQ/VL (Xeon Phi) no masks for small types.
        wide = features.issuperset(_V4)
        vector_bytes = 64 if wide else 32 if "avx2" in features else 16
        registers = 32 if wide else 16
        fma = "fma" in features
    return Target(
        name=name,
        arch=arch,
        triple=_triple(arch),
        cpu=cpu,
        features=tuple(sorted(features)),
        vector_bytes=vector_bytes,
        vector_registers=registers,
        fma=fma,
        l1d_bytes=caches.l1d,
        l2_bytes=caches.l2,
        l3_bytes=caches.l3,
        line_bytes=caches.line,
    )


def _triple(arch: Arch) -> str:
    machine = "x86_64" if arch == "x86-64" else "aarch64"
    match sys.platform:
        case "darwin":
            return f"{'arm64' if arch == 'aarch64' else machine}-apple-darwin"
        case "win32":
            return f"{machine}-pc-windows-msvc"
        case _:
            return f"{machine}-unknown-linux-gnu"
