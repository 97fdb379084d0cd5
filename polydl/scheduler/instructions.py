"""Hardware instructions as programs: what they compute is a function with fixed extents, how they are spelled is text.

    declare(Instruction("vpdpbusd", body, features=("avx512vnni",), llvm=…, c=…))

`body` is an ordinary function of one computation, c[j] += sum over t of a[t] * b[j, t] with numbers as extents. A point
band that computes the same on tiles that lie in memory as the body's tensors do (`Tensorise`) is replaced by the
spelling; where a back end or a machine has none, the band's own loops run: they are the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from polydl.dsl.function import Axis, Computation, Function, Reduction, StatementDef
from polydl.dsl.tensor import Tensor, TensorRole, numbers
from polydl.dtypes import I8, I32, U8
from polydl.errors import InvalidProgram, UsageError
from polydl.ir.expr import Binary, Call, Cast, Const, Expr, Load, Select, Unary, Var, as_expr, cast

__all__ = ["INSTRUCTIONS", "Instruction", "declare", "instruction", "unified"]

_COMMUTATIVE = frozenset({"add", "mul", "min", "max", "and", "or", "bitand", "bitor", "bitxor"})


@dataclass(frozen=True, slots=True)
class Instruction:
    """A hardware instruction.

    `features`: LLVM's names of what the machine must have. `llvm`: instructions that load, compute and store; `{a}` is
    the pointer to the first element of tensor `a`, `{v}` makes names unique (`%{v}sum`). `declarations`: what they
    call. `c`: the same as C statements, compiled where `c_macro` is defined. Nothing checks that the texts compute the
    body: that is the declaration's promise.
    """

    name: str
    body: Function
    features: tuple[str, ...] = ()
    llvm: tuple[str, ...] = ()
    declarations: tuple[str, ...] = ()
    c: tuple[str, ...] = ()
    c_macro: str = ""

    @property
    def statement(self) -> StatementDef:
        """What one execution computes at each of its points."""
        return self.body.statements()[-1]

    @property
    def extents(self) -> tuple[int, ...]:
        """The number of points along each axis of the statement."""
        return numbers(tuple(a.upper for a in self.statement.axes), self.name)

    def strides(self, tensor: str) -> tuple[int, ...]:
        """How many elements apart neighbours along each axis lie in a tensor of the body."""
        shape = self.body.tensor(tensor).extents
        index = next(i for t, i in self._accesses() if t == tensor)
        steps = [prod(shape[d + 1 :]) for d in range(len(shape))]
        return tuple(
            sum(step for e, step in zip(index, steps, strict=True) if e == a.var) for a in self.statement.axes
        )

    def _accesses(self) -> Iterator[tuple[str, tuple[Expr, ...]]]:
        s = self.statement
        yield s.target, s.index
        yield from ((x.buffer, x.index) for x in _loads(s.value))


def declare(new: Instruction) -> Instruction:
    """Make an instruction known by its name to `Tensorise` and the back ends; InvalidProgram where its body is none."""
    computations, s = new.body.computations, new.statement
    if len(computations) != 1 or (s.op is not None and len(new.body.statements()) != 1):
        raise InvalidProgram(f"instruction {new.name} is not one computation without an initial value")
    if new.body.sizes or s.conditions or any(not _is_number(a) for a in s.axes):
        raise InvalidProgram(f"instruction {new.name} is not over a box of numbers that begins at 0")
    seen: dict[str, tuple[Expr, ...]] = {}
    for tensor, index in new._accesses():
        variables = {a.var for a in s.axes}
        if (
            not set(index) <= variables
            or len(set(index)) != len(index)
            or seen.setdefault(tensor, index) != index
        ):
            raise InvalidProgram(
                f"instruction {new.name} accesses {tensor} otherwise than once by distinct axes",
                next="give every operand its own tensor",
            )
    if INSTRUCTIONS.setdefault(new.name, new) != new:
        raise UsageError(f"there is another instruction {new.name} already", next="choose another name")
    return new


def instruction(name: str) -> Instruction:
    """The declared instruction of that name."""
    if name not in INSTRUCTIONS:
        raise UsageError(
            f"there is no instruction '{name}'",
            next=f"declare it, or use one of {', '.join(sorted(INSTRUCTIONS))}",
        )
    return INSTRUCTIONS[name]


def unified(pattern: Expr, found: Expr) -> dict[str, Load] | None:
    """The load in `found` for each tensor of `pattern`, where both compute the same up to that; None otherwise."""
    match pattern, found:
        case Load(buffer=name), Load() if pattern.dtype == found.dtype and found.mask is None:
            return {name: found}
        case Binary(op=op, a=a, b=b), Binary(op=other, a=x, b=y) if op == other:
            straight = _joined(unified(a, x), unified(b, y))
            if straight is not None or op not in _COMMUTATIVE:
                return straight
            return _joined(unified(a, y), unified(b, x))
        case Unary(op=op, operand=a), Unary(op=other, operand=x) if op == other:
            return unified(a, x)
        case Cast(dtype=dtype, operand=a), Cast(dtype=other, operand=x) if dtype == other:
            return unified(a, x)
        case Call(function=f, operands=some), Call(function=g, operands=others) if f == g and len(
            some
        ) == len(others):
            total: dict[str, Load] | None = {}
            for a, x in zip(some, others, strict=True):
                total = _joined(total, unified(a, x))
            return total
        case Select(cond=c, a=a, b=b), Select(cond=d, a=x, b=y):
            return _joined(unified(c, d), _joined(unified(a, x), unified(b, y)))
        case Const(), Const() if pattern == found:
            return {}
        case _:
            return None


def _joined(a: dict[str, Load] | None, b: dict[str, Load] | None) -> dict[str, Load] | None:
    if a is None or b is None or any(a[n] != b[n] for n in a.keys() & b.keys()):
        return None
    return a | b


def _loads(e: Expr) -> Iterator[Load]:
    from polydl.ir.expr import walk

    return (x for x in walk(e) if isinstance(x, Load))


def _is_number(a: Axis) -> bool:
    return a.lower == as_expr(0) and isinstance(a.upper, Const)


# ---- declared here -------------------------------------------------------------------------------------------------


def _dot_of_bytes() -> Function:
    """c[j] += sum of a[t] * b[j, t] over four bytes: unsigned times signed, in 16 lanes of 32 bits."""
    j, t = Var("j"), Var("t")
    a = Tensor("a", U8, (as_expr(4),), TensorRole.INPUT)
    b = Tensor("b", I8, (as_expr(16), as_expr(4)), TensorRole.INPUT)
    c = Tensor("c", I32, (as_expr(16),), TensorRole.INOUT)
    axes = (Axis("j", as_expr(0), as_expr(16)), Axis("t", as_expr(0), as_expr(4)))
    value = cast(I32, a[t]) * cast(I32, b[j, t])
    dot = Computation("dot", axes, (), "c", (j,), value, Reduction("add", ("t",), None))
    return Function("dot", (), (a, b, c), (dot,))


INSTRUCTIONS: dict[str, Instruction] = {}

declare(
    Instruction(
        "vpdpbusd",
        _dot_of_bytes(),
        ("avx512f", "avx512vnni"),
        (
            "%{v}bytes = load i32, ptr {a}, align 1",
            "%{v}one = insertelement <16 x i32> poison, i32 %{v}bytes, i32 0",
            "%{v}all = shufflevector <16 x i32> %{v}one, <16 x i32> poison, <16 x i32> zeroinitializer",
            "%{v}rows = load <16 x i32>, ptr {b}, align 1",
            "%{v}old = load <16 x i32>, ptr {c}, align 4",
            "%{v}new = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> %{v}old, <16 x i32> %{v}all, "
            "<16 x i32> %{v}rows)",
            "store <16 x i32> %{v}new, ptr {c}, align 4",
        ),
        ("declare <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32>, <16 x i32>, <16 x i32>)",),
        (
            "int32_t bytes;",
            "memcpy(&bytes, {a}, 4);",
            "_mm512_storeu_si512({c}, _mm512_dpbusd_epi32(_mm512_loadu_si512({c}), _mm512_set1_epi32(bytes), "
            "_mm512_loadu_si512({b})));",
        ),
        "__AVX512VNNI__",
    )
)
