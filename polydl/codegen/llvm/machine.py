"""LLVM itself: parsing, optimising and emitting objects and assembly for a target."""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm

from polydl.errors import ToolchainError
from polydl.targets import Target

__all__ = ["assembly", "attributes", "object_code", "optimised"]


@cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    # LLVM makes branches of selections that it takes to be predictable. Maxima of data are not: tables of dynamic
    # programming with 8 rows in flight (longest common subsequence of 3000 x 3000, int32) took 24 ms instead of 8.
    llvm.set_option("", "-x86-cmov-converter=false")


def _machine(target: Target) -> llvm.TargetMachine:
    _initialise()
    features = ",".join(f"+{feature}" for feature in target.features)
    try:
        return llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=features, opt=3, reloc="pic", codemodel="default"
        )
    except RuntimeError as error:
        raise ToolchainError(
            f"LLVM has no back end for {target.triple}", why=str(error), next="choose another --target"
        ) from error


def attributes(target: Target) -> str:
    """Function attributes of generated code. LLVM prefers 256-bit vectors on many AVX-512 machines; we ask for all."""
    text = "nounwind"
    if target.arch == "x86-64":
        bits = target.vector_bytes * 8
        text += f' "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"'
    return text


def _parse(text: str) -> llvm.ModuleRef:
    _initialise()
    try:
        return llvm.parse_assembly(text)
    except RuntimeError as error:
        raise ToolchainError("LLVM refuses the generated module", why=str(error).strip()) from error


def optimised(text: str, target: Target, machine: llvm.TargetMachine | None = None) -> llvm.ModuleRef:
    """The module of `text` after LLVM's passes.

    Vectors, unrolling and interleaving are already spelled, so LLVM's own are off; what remains is promotion of
    allocas to registers, common subexpressions, loop-invariant code and strength reduction.
    """
    machine = machine or _machine(target)
    module = _parse(text)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def object_code(text: str, target: Target) -> bytes:
    """A relocatable object file."""
    machine = _machine(target)
    return bytes(machine.emit_object(optimised(text, target, machine)))


def assembly(text: str, target: Target) -> str:
    """The target's assembly, for people."""
    machine = _machine(target)
    return str(machine.emit_assembly(optimised(text, target, machine)))
