"""A program as one object file."""

from __future__ import annotations

from polydl.artifact import Artifact
from polydl.codegen.cpu import Frame, LocalBytes, Unit, frame, lower, make_artifact, symbol, unit, up
from polydl.codegen.llvm.halves import half_ir
from polydl.codegen.llvm.kernels import KernelCode, emit_kernel
from polydl.codegen.llvm.machine import assembly, attributes, object_code
from polydl.codegen.llvm.support import barrier_ir
from polydl.codegen.passes import Windows, shared_buffers
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.ir.kernel import Kernel
from polydl.targets import Target

__all__ = ["compile_program", "emit_asm", "emit_llvm", "lower"]


def compile_program(program: Program, target: Target) -> Artifact:
    """The artifact of `program` for `target`: an object file whose entry follows the calling convention of
    `polydl.artifact`."""
    text, parts, places = _module(program, target)
    return make_artifact(program, target, object_code(text, target), parts, places)


def emit_llvm(what: Kernel | Program, target: Target) -> str:
    """LLVM's text before its own optimiser."""
    if isinstance(what, Program):
        return _module(what, target)[0]
    declarations: set[str] = set()
    code = _kernel(what, target, symbol(what.name), declarations, ())
    return _assemble([code.text.replace("define internal", "define", 1)], declarations, target)


def emit_asm(what: Kernel | Program, target: Target) -> str:
    """The target's assembly."""
    return assembly(emit_llvm(what, target), target)


def _kernel(
    kernel: Kernel, target: Target, name: str, declarations: set[str], aligned: tuple[bool, ...]
) -> KernelCode:
    lowered = Windows(target)(lower(kernel, target))
    return emit_kernel(lowered, target, name, declarations, shared_buffers(kernel), aligned)


def _assemble(functions: list[str], declarations: set[str], target: Target) -> str:
    head = [f'target triple = "{target.triple}"', barrier_ir(target.arch.replace("-", "_"))]
    head.append(half_ir(target, "".join(functions)))
    tail = [*sorted(declarations), f"attributes #0 = {{ noinline {attributes(target)} }}"]
    return "\n\n".join([*filter(None, head), *functions, "\n".join(tail)]) + "\n"


def _module(program: Program, target: Target) -> tuple[str, Unit, Frame]:
    """The text of a module, and the parts it was made of."""
    declarations: set[str] = set()
    parts = unit(program)
    codes = [_kernel(r.kernel, target, r.name, declarations, r.aligned) for r in parts.routines]
    calls = [codes[k] for k in parts.of_step]
    places = frame(program, [LocalBytes(code.scratch, code.shared) for code in calls])
    functions = [*(code.text for code in codes), _entry(program, parts.entry, calls, places)]
    return _assemble(functions, declarations, target), parts, places


def _entry(program: Program, entry: str, codes: list[KernelCode], places: Frame) -> str:
    """The entry point."""
    lines = [
        f"define i32 @{entry}(ptr %inputs, ptr %outputs, ptr %constants, ptr %workspace, ptr %sizes, i64 %thread, "
        "i64 %threads, ptr %barrier, i64 %first, i64 %last) #0 {",
        "entry:",
        f"  %own = mul i64 %thread, {places.scratch_bytes}",
        "  %status = alloca i32",
        "  store i32 0, ptr %status",
        "  br label %next",
        "next:",
        "  %step = phi i64 [ %first, %entry ], [ %after, %advance ]",
        "  %more = icmp slt i64 %step, %last",
        "  br i1 %more, label %choose, label %finish",
        "choose:",
        "  switch i64 %step, label %finish [",
        *(f"    i64 {k}, label %step{k}" for k in range(len(codes))),
        "  ]",
    ]
    for k, (step, code) in enumerate(zip(program.steps, codes, strict=True)):
        lines += _step(program, k, step, code, places)
    lines += [
        "advance:",
        "  %after = add nsw i64 %step, 1",
        "  br label %next",
        "finish:",
        "  %result = load i32, ptr %status",
        "  ret i32 %result",
        "}",
    ]
    return "\n".join(lines)


def _step(program: Program, k: int, step: Step, code: KernelCode, places: Frame) -> list[str]:
    """One case of the switch: barrier, skip after a failed check, arguments, call."""
    lines = [f"step{k}:"]
    if step.barrier:
        lines.append("  call void @polydl_barrier(ptr %barrier, i64 %threads)")
    lines += [
        f"  %old{k} = load i32, ptr %status",
        f"  %good{k} = icmp eq i32 %old{k}, 0",
        f"  br i1 %good{k}, label %run{k}, label %advance",
        f"run{k}:",
    ]
    args: list[str] = []
    for j, slot in enumerate(step.args):
        lines += _slot(f"%s{k}.{j}", slot)
        args.append(f"ptr %s{k}.{j}")
    offset = places.scratch
    for j, size in enumerate(code.scratch):
        lines.append(f"  %q{k}.{j} = getelementptr i8, ptr %workspace, i64 %own")
        lines.append(f"  %l{k}.{j} = getelementptr i8, ptr %q{k}.{j}, i64 {offset}")
        args.append(f"ptr %l{k}.{j}")
        offset += up(size)
    for j, place in enumerate(places.shared[k]):
        lines.append(f"  %c{k}.{j} = getelementptr i8, ptr %workspace, i64 {place}")
        args.append(f"ptr %c{k}.{j}")
    for j, size_name in enumerate(step.kernel.sizes):
        position = program.sizes.index(size_name)
        lines.append(f"  %z{k}.{j}.p = getelementptr i64, ptr %sizes, i64 {position}")
        lines.append(f"  %z{k}.{j} = load i64, ptr %z{k}.{j}.p")
        args.append(f"i64 %z{k}.{j}")
    args += ["i64 %thread", "i64 %threads", "ptr %barrier"]
    lines += [
        f"  %code{k} = call i32 @{code.symbol}({', '.join(args)})",
        f"  store i32 %code{k}, ptr %status",
        "  br label %advance",
    ]
    return lines


def _slot(name: str, slot: Slot) -> list[str]:
    match slot.space:
        case Space.INPUT | Space.OUTPUT | Space.TEMPORARY:
            table = "%inputs" if slot.space == Space.INPUT else "%outputs"
            return [
                f"  {name}.a = getelementptr ptr, ptr {table}, i64 {slot.index}",
                f"  {name}.b = load ptr, ptr {name}.a",
                f"  {name} = getelementptr i8, ptr {name}.b, i64 {slot.offset}",
            ]
        case Space.CONSTANT:
            return [f"  {name} = getelementptr i8, ptr %constants, i64 {slot.offset}"]
        case Space.WORKSPACE:
            return [f"  {name} = getelementptr i8, ptr %workspace, i64 {slot.offset}"]
