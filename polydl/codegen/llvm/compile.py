"""A program as one object file."""

from __future__ import annotations

from dataclasses import dataclass, replace

from polydl.artifact import Artifact, StepInfo
from polydl.codegen.llvm.kernels import KernelCode, emit_kernel, symbol
from polydl.codegen.llvm.machine import assembly, attributes, object_code
from polydl.codegen.llvm.support import barrier_ir
from polydl.codegen.passes import Unroll, Vectorize, accumulate, distribute, shared_buffers
from polydl.codegen.passes.walk import contains
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.ir.kernel import Check, Kernel, Stmt
from polydl.ir.rewrite import map_stmts
from polydl.targets import Target

__all__ = ["compile_program", "emit_asm", "emit_llvm", "lower"]

_ALIGN = 64


def lower(kernel: Kernel, target: Target) -> Kernel:
    """The kernel that one thread runs, spelled for the target: threads, vectors, unrolled loops."""
    return accumulate(Unroll()(Vectorize(target)(distribute(kernel))))


@dataclass(frozen=True, slots=True)
class _Module:
    """The text of a module and the memory its entry point asks for."""

    text: str
    entry: str
    scratch_bytes: int
    shared_bytes: int
    checks: tuple[str, ...]


def compile_program(program: Program, target: Target) -> Artifact:
    """The artifact of `program` for `target`: an object file whose entry follows the calling convention of
    `polydl.artifact`."""
    module = _module(program, target)
    return Artifact(
        code=object_code(module.text, target),
        entry=module.entry,
        inputs=program.inputs,
        outputs=program.outputs,
        sizes=program.sizes,
        steps=tuple(StepInfo(step.name, step.flops, step.bytes) for step in program.steps),
        constants_bytes=program.constants_bytes,
        workspace_bytes=_up(program.workspace_bytes) + module.shared_bytes,
        scratch_bytes=module.scratch_bytes,
        triple=target.triple,
        cpu=target.cpu,
        features=target.features,
        checks=module.checks,
    )


def emit_llvm(what: Kernel | Program, target: Target) -> str:
    """LLVM's text before its own optimiser."""
    if isinstance(what, Program):
        return _module(what, target).text
    declarations: set[str] = set()
    code = _kernel(what, target, symbol(what.name), declarations, ())
    return _assemble([code.text.replace("define internal", "define", 1)], declarations, target)


def emit_asm(what: Kernel | Program, target: Target) -> str:
    """The target's assembly."""
    return assembly(emit_llvm(what, target), target)


def _up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _kernel(
    kernel: Kernel, target: Target, name: str, declarations: set[str], aligned: tuple[bool, ...]
) -> KernelCode:
    return emit_kernel(lower(kernel, target), target, name, declarations, shared_buffers(kernel), aligned)


def _assemble(functions: list[str], declarations: set[str], target: Target) -> str:
    head = [f'target triple = "{target.triple}"', barrier_ir(target.arch.replace("-", "_"))]
    tail = [*sorted(declarations), f"attributes #0 = {{ noinline {attributes(target)} }}"]
    return "\n\n".join([*head, *functions, "\n".join(tail)]) + "\n"


def _module(program: Program, target: Target) -> _Module:
    declarations: set[str] = set()
    messages: list[str] = []
    codes: dict[int, KernelCode] = {}
    distinct: dict[Kernel, KernelCode] = {}
    for step in program.steps:
        if id(step.kernel) in codes:
            continue
        if step.kernel not in distinct:
            kernel = _number_checks(step.kernel, messages)
            aligned = tuple(
                all(_aligned(other.args[k]) for other in program.steps if other.kernel == step.kernel)
                for k in range(len(step.args))
            )
            name = f"k{len(distinct)}_{symbol(kernel.name)}"
            distinct[step.kernel] = _kernel(kernel, target, name, declarations, aligned)
        codes[id(step.kernel)] = distinct[step.kernel]
    entry = f"polydl_{symbol(program.name)}"
    text, shared = _entry(program, entry, [codes[id(step.kernel)] for step in program.steps])
    scratch = max((_total(code.scratch) for code in distinct.values()), default=0)
    functions = [*(code.text for code in distinct.values()), text.replace("SCRATCH", str(scratch))]
    return _Module(_assemble(functions, declarations, target), entry, scratch, shared, tuple(messages))


def _aligned(slot: Slot) -> bool:
    return slot.space in (Space.CONSTANT, Space.WORKSPACE) and slot.offset % _ALIGN == 0


def _total(sizes: tuple[int, ...]) -> int:
    return sum(_up(size) for size in sizes)


def _number_checks(kernel: Kernel, messages: list[str]) -> Kernel:
    """The kernel with its checks numbered through the whole program."""
    if not contains(kernel.body, Check):
        return kernel

    def number(s: Stmt) -> Stmt:
        if not isinstance(s, Check):
            return s
        if s.message not in messages:
            messages.append(s.message)
        return replace(s, code=messages.index(s.message) + 1)

    return replace(kernel, body=map_stmts(kernel.body, number))


def _entry(program: Program, entry: str, codes: list[KernelCode]) -> tuple[str, int]:
    """The entry point, and the bytes of shared local buffers it places behind the workspace.

    Steps between two barriers may run at the same time on different threads: their shared buffers get places
    of their own.
    """
    lines = [
        f"define i32 @{entry}(ptr %inputs, ptr %outputs, ptr %constants, ptr %workspace, ptr %sizes, i64 %thread, "
        "i64 %threads, ptr %barrier, i64 %first, i64 %last) #0 {",
        "entry:",
        "  %own = mul i64 %thread, SCRATCH",
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
    base, used, most = _up(program.workspace_bytes), 0, 0
    for k, (step, code) in enumerate(zip(program.steps, codes, strict=True)):
        if step.barrier:
            used = 0
        lines += _step(program, k, step, code, base + used)
        used += _total(code.shared)
        most = max(most, used)
    lines += [
        "advance:",
        "  %after = add nsw i64 %step, 1",
        "  br label %next",
        "finish:",
        "  %result = load i32, ptr %status",
        "  ret i32 %result",
        "}",
    ]
    text = "\n".join(lines).replace("SHARED_END", str(base + most))
    return text, most


def _step(program: Program, k: int, step: Step, code: KernelCode, shared: int) -> list[str]:
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
    offset = 0
    for j, size in enumerate(code.scratch):
        lines.append(f"  %p{k}.{j} = getelementptr i8, ptr %workspace, i64 SHARED_END")
        lines.append(f"  %q{k}.{j} = getelementptr i8, ptr %p{k}.{j}, i64 %own")
        lines.append(f"  %l{k}.{j} = getelementptr i8, ptr %q{k}.{j}, i64 {offset}")
        args.append(f"ptr %l{k}.{j}")
        offset += _up(size)
    for j, size in enumerate(code.shared):
        lines.append(f"  %c{k}.{j} = getelementptr i8, ptr %workspace, i64 {shared}")
        args.append(f"ptr %c{k}.{j}")
        shared += _up(size)
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
        case Space.INPUT | Space.OUTPUT:
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
