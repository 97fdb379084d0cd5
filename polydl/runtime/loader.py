"""Brings compiled code into the process: no compiler, no linker, never a page both writable and executable.

LLVM's in-process linker (JITLink, through llvmlite) places the object, binds its imports to the symbols of the
process (C library, libm) and then makes code read-only and executable. It takes about a millisecond.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import sys
import threading
from typing import Any, Final

import llvmlite.binding as llvm

from polydl.artifact import Artifact
from polydl.errors import InvalidPackage, ToolchainError

__all__ = ["Code", "check_machine", "compile_ir", "host_arch", "host_features", "load_object"]

_ARCH_NAMES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}

# What LLVM may use when it is told only the name of a generic processor.
_V2: Final = ("cx16", "popcnt", "sse3", "ssse3", "sse4.1", "sse4.2")
_V3: Final = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4: Final = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_GENERIC: Final[dict[str, tuple[str, ...]]] = {
    "": (), "generic": (), "x86-64": (), "x86-64-v2": _V2, "x86-64-v3": _V3, "x86-64-v4": _V4,
}  # fmt: skip
# LLVM features that tune code and are no property of a machine.
_TUNING: Final = ("prefer-", "tuning-", "fast-", "slow-", "false-deps-", "branchfusion", "macrofusion")

_lock = threading.Lock()
_serial = itertools.count()
_linker: Any = None


class Code:
    """An object file in memory; its addresses are valid until `close` (also called when it is collected)."""

    __slots__ = ("_addresses", "_tracker")

    def __init__(self, tracker: Any, addresses: dict[str, int]) -> None:
        self._tracker: Any = tracker
        self._addresses = addresses

    def address(self, symbol: str) -> int:
        """The address of an exported symbol that was asked for at load."""
        return self._addresses[symbol]

    def close(self) -> None:
        """Unload the code. Nobody may be running it."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            with _lock:
                tracker.close()


def _jit() -> Any:
    """The process-wide linker, made at first use. `_lock` is held."""
    global _linker
    if _linker is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # The symbols of the program itself include libc; libm need not be among them.
        if sys.platform.startswith("linux"):
            llvm.load_library_permanently("libm.so.6")
        _linker = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    return _linker


def load_object(image: bytes, symbols: tuple[str, ...]) -> Code:
    """Link a relocatable object for this machine into the process and look up `symbols`.

    Errors: ToolchainError when the image is not such an object, lacks a symbol, or needs one the process has not.
    """
    builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
    for symbol in symbols:
        builder.export_symbol(symbol)
    try:
        with _lock:
            tracker = builder.link(_jit(), f"polydl.{next(_serial)}")
    except RuntimeError as error:
        raise ToolchainError(
            "the compiled code does not link", where=", ".join(symbols), why=str(error)
        ) from error
    return Code(tracker, {symbol: tracker[symbol] for symbol in symbols})


def compile_ir(text: str, symbols: tuple[str, ...]) -> Code:
    """Compile a few functions of IR (the runtime's own, some 100 instructions, about 10 ms) and load them."""
    with _lock:
        _jit()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, codemodel="small", reloc="pic")
    return load_object(machine.emit_object(llvm.parse_assembly(text)), symbols)


def host_arch() -> str:
    """The architecture of this process as LLVM spells it in triples ("x86_64", "aarch64")."""
    machine = platform.machine().lower()
    return _ARCH_NAMES.get(machine, machine)


def host_features() -> frozenset[str]:
    """What the processor and the kernel let this process use, in LLVM's names."""
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def check_machine(artifact: Artifact) -> None:
    """Refuse code that this machine cannot run: InvalidPackage. Asks the kernel for the AMX tile state where needed."""
    arch, _, rest = artifact.triple.partition("-")
    if _ARCH_NAMES.get(arch, arch) != host_arch() or (
        sys.platform.startswith("linux") and "linux" not in rest
    ):
        raise InvalidPackage(
            f"code for {artifact.triple} cannot run here",
            why=f"this process is {host_arch()} on {sys.platform}",
            next="build again on this machine, or with --target native",
        )
    wanted = {f.lstrip("+") for f in artifact.features if f and not f.startswith("-")}
    wanted = {f for f in wanted if not f.startswith(_TUNING)}
    if artifact.cpu in _GENERIC:
        wanted |= set(_GENERIC[artifact.cpu])
    elif not wanted and artifact.cpu != llvm.get_host_cpu_name():
        raise InvalidPackage(
            f"code for the processor '{artifact.cpu}' does not say which features it needs",
            why=f"this processor is '{llvm.get_host_cpu_name()}'",
            next="build again on this machine",
        )
    missing = sorted(wanted - host_features())
    if missing:
        raise InvalidPackage(
            f"code for '{artifact.cpu}' needs processor features that this machine lacks: {', '.join(missing)}",
            why=f"this processor is '{llvm.get_host_cpu_name()}'",
            next="build for this machine (--target native) or for an older x86 level",
        )
    if any(f.startswith("amx") for f in wanted):
        _request_tiles()


def _request_tiles() -> None:
    """Linux gives a process the AMX tile registers on request only: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(158), ctypes.c_long(0x1023), ctypes.c_long(18)) != 0:
        raise InvalidPackage(
            "the kernel refuses the AMX tile registers", why=f"arch_prctl: errno {ctypes.get_errno()}",
            next="build without the amx features",
        )  # fmt: skip


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
