"""Small artifacts written by hand in LLVM IR, so that the runtime is tested without any back end of ours.

`double_plus()`: `y = 2 x + c` for f32[n] in two steps, t = 2 x into the workspace and y = t + c, split over the threads
in *different* halves, so that the second step is wrong unless the threads met at the barrier.
"""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm
import numpy as np

from polydl.artifact import Artifact, StepInfo, TensorSpec
from polydl.codegen.llvm.support import barrier_ir
from polydl.dtypes import F32, I64, DType
from polydl.runtime.loader import host_arch

N = 1000

_SIGNATURE = (
    "define i32 @entry(ptr %inputs, ptr %outputs, ptr %constants, ptr %workspace, ptr %sizes,"
    " i64 %thread, i64 %threads, ptr %barrier, i64 %first, i64 %last)"
)

# One loop over i in [n*part/threads, n*(part+1)/threads); $BODY computes with %i.
_LOOP = """
$L:
  %$L.a = mul i64 %n, $PART
  %$L.lower = udiv i64 %$L.a, %threads
  %$L.b = add i64 %$L.a, %n
  %$L.upper = udiv i64 %$L.b, %threads
  br label %$L.head
$L.head:
  %$L.i = phi i64 [ %$L.lower, %$L ], [ %$L.next, %$L.body ]
  %$L.go = icmp ult i64 %$L.i, %$L.upper
  br i1 %$L.go, label %$L.body, label %$AFTER
$L.body:
  $BODY
  %$L.next = add i64 %$L.i, 1
  br label %$L.head
"""


def _loop(label: str, part: str, after: str, body: str) -> str:
    text = _LOOP.replace("$BODY", body).replace("$PART", part).replace("$AFTER", after)
    return text.replace("$L", label)


def _double_plus_ir(size: str) -> str:
    first = _loop("A", "%thread", "meet", """
  %x.at = getelementptr float, ptr %x, i64 %$L.i
  %x.v = load float, ptr %x.at
  %t.v = fmul float %x.v, 2.0
  %t.at = getelementptr float, ptr %workspace, i64 %$L.i
  store float %t.v, ptr %t.at""")  # fmt: skip
    second = _loop("B", "%mirror", "end", """
  %u.at = getelementptr float, ptr %workspace, i64 %$L.i
  %u.v = load float, ptr %u.at
  %y.v = fadd float %u.v, %c
  %y.at = getelementptr float, ptr %y, i64 %$L.i
  store float %y.v, ptr %y.at""")  # fmt: skip
    return f"""{_SIGNATURE} {{
entry:
  %n = {size}
  %x = load ptr, ptr %inputs
  %y = load ptr, ptr %outputs
  %c = load float, ptr %constants
  %threads.less = sub i64 %threads, 1
  %mirror = sub i64 %threads.less, %thread
  %starts = icmp sle i64 %first, 0
  %some = icmp slt i64 %first, %last
  %one = and i1 %starts, %some
  br i1 %one, label %A, label %meet
{first}
meet:
  %two.a = icmp sle i64 %first, 1
  %two.b = icmp sgt i64 %last, 1
  %two = and i1 %two.a, %two.b
  br i1 %two, label %sync, label %end
sync:
  call void @polydl_barrier(ptr %barrier, i64 %threads)
  br label %B
{second}
end:
  ret i32 0
}}
"""


@cache
def _object(text: str) -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, reloc="pic", codemodel="small")
    return machine.emit_object(module)


def artifact(
    text: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    sizes: tuple[str, ...] = (),
    steps: int = 1,
    constants: int = 0,
    workspace: int = 0,
    checks: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
    cpu: str = "",
) -> Artifact:
    return Artifact(
        code=_object(text + barrier_ir(host_arch())), entry="entry", inputs=inputs, outputs=outputs, sizes=sizes,
        steps=tuple(StepInfo(f"step{i}", 10 * (i + 1), 8) for i in range(steps)), constants_bytes=constants,
        workspace_bytes=workspace, scratch_bytes=64, triple=llvm.get_process_triple(), cpu=cpu, features=features,
        checks=checks,
    )  # fmt: skip


def double_plus(n: int = N) -> Artifact:
    """`y[n] = 2 x[n] + c` with the weight image of `constant()`."""
    return artifact(
        _double_plus_ir(f"add i64 0, {n}"), (TensorSpec("x", F32, (n,)),), (TensorSpec("y", F32, (n,)),),
        steps=2, constants=64, workspace=4 * n,
    )  # fmt: skip


def double_plus_symbolic() -> Artifact:
    """The same for f32[N] with N <= 1000."""
    return artifact(
        _double_plus_ir("load i64, ptr %sizes"), (TensorSpec("x", F32, ("N",)),), (TensorSpec("y", F32, ("N",)),),
        sizes=("N",), steps=2, constants=64, workspace=4 * N,
    )  # fmt: skip


def constant(value: float = 3.0) -> np.ndarray:
    """A weight image of 64 bytes that starts with `value`."""
    image = np.zeros(16, np.float32)
    image[0] = value
    return image


def nothing() -> Artifact:
    """No step at all: the cost of a call."""
    text = _SIGNATURE + " { ret i32 0 }\n"
    return artifact(text, (TensorSpec("x", F32, (4,)),), (TensorSpec("y", F32, (4,)),))


def checked(dtype: DType = I64) -> Artifact:
    """Inputs k (a scalar), a: f32[M, 2], b: f32[M]; outputs o = k and c = a[0, 0]; check 1 fails unless 0 <= k < 10."""
    text = (
        _SIGNATURE
        + """ {
  %k.slot = getelementptr ptr, ptr %inputs, i64 0
  %k.at = load ptr, ptr %k.slot
  %k = load i64, ptr %k.at
  %o.at = load ptr, ptr %outputs
  store i64 %k, ptr %o.at
  %a.slot = getelementptr ptr, ptr %inputs, i64 1
  %a = load ptr, ptr %a.slot
  %a.v = load float, ptr %a
  %c.slot = getelementptr ptr, ptr %outputs, i64 1
  %c = load ptr, ptr %c.slot
  store float %a.v, ptr %c
  %ok = icmp ult i64 %k, 10
  %bad = xor i1 %ok, 1
  %code = zext i1 %bad to i32
  ret i32 %code
}
"""
    )
    inputs = (TensorSpec("k", dtype, ()), TensorSpec("a", F32, ("M", 2)), TensorSpec("b", F32, ("M",)))
    outputs = (TensorSpec("o", I64, ()), TensorSpec("c", F32, (1,)))
    return artifact(text, inputs, outputs, sizes=("M",), checks=("index k is outside of 0..9",))
