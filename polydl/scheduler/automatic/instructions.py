"""What one instance of a statement costs inside the core: arithmetic, loads and stores, and chains of latencies.

Lanes share everything but strided elements. What does not move in the innermost running loop stays in a register, and
what does not move in an unrolled loop is shared by its copies. A place that every iteration of the innermost running
loop updates, or that the next one reads, makes iterations wait for each other: only independent places of the
same iteration (unrolled copies, lanes) overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil, prod
from typing import Final

from polydl.dsl.function import StatementDef
from polydl.dsl.polyhedral import loads, to_affine
from polydl.ir.expr import Binary, Call, Expr, Load, Select, Unary, children
from polydl.scheduler.automatic.extents import Loop
from polydl.scheduler.automatic.traffic import Reference
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["cycles_of_instance", "handed_on"]

_LATENCY: Final = 4.0  # of an addition, a multiplication or both in one
_OPERATION: Final = 0.5  # cycles of one, scalar or vector: two units
_DIVISION: Final = 5.0  # cycles between two
_DIVISION_LATENCY: Final = 13.0
_FUNCTION: Final = 20.0  # exp and the like
_LOAD: Final = 0.5
_STORE: Final = 1.0
_LANE: Final = 1.0  # of a gather or scatter, for each lane
_STEP: Final = 0.5  # cycles of an iteration beside its statements
_ENTRY: Final = 8.0  # cycles of entering and leaving a loop
_FOLD: Final = 12.0  # cycles of combining the lanes of a sum
_SEPARATE_SUMS: Final = 8  # accumulators that code generation keeps of one sum


def handed_on(statements: Sequence[StatementDef]) -> frozenset[str]:
    """The tensors whose values the statements of one loop body make of their own earlier values, through any others."""
    reads = [(s.target, {x.buffer for x in loads(s.value)}) for s in statements]
    found = set()
    for start in {t for t, _ in reads}:
        reached: set[str] = set()
        pending = {start}
        while pending:
            name = pending.pop()
            new = {t for t, read in reads if name in read} - reached
            reached |= new
            pending |= new
        if start in reached:
            found.add(start)
    return frozenset(found)


def cycles_of_instance(
    s: StatementDef,
    loops: Sequence[Loop],
    references: Sequence[Reference],
    target: Target,
    state: Collection[str] = (),
) -> float:
    """Cycles of one instance; `references` are the statement's accesses, the stored one last, and `state` the tensors
    that one iteration of the innermost loop hands on to the next."""
    element = max(r.element for r in references)
    vector = next((x for x in loops if x.member.binding is Binding.VECTOR), None)
    unrolled = [x for x in loops if x.member.binding is Binding.UNROLL]
    running = [x for x in loops if x.member.binding in (Binding.SEQUENTIAL, Binding.PARALLEL)]
    inner = running[-1].axis if running else ""
    lanes = vector.trips if vector is not None else 1.0
    pieces = ceil(lanes / target.lanes(element))
    body = lanes * prod(x.trips for x in unrolled)  # instances of one iteration of the innermost running loop
    copies = pieces * prod(x.trips for x in unrolled)  # their instructions
    stored = references[-1]
    arithmetic = copies * (_arithmetic(s.value, s.op is not None))
    ports = 0.0
    registers = 0.0
    for r in references:
        count = pieces if vector is not None and _moves(r, vector.axis) else 1.0
        count *= prod(x.trips for x in unrolled if _moves(r, x.axis))
        accesses = _STORE if r is stored else _LOAD
        if r is stored and (s.op is not None or _combines(s)):
            accesses += _LOAD
        stride = 1 if vector is None else _stride(r, vector.axis) * vector.sign
        if abs(stride) > 1:
            count, accesses = count * lanes / pieces, accesses / _LOAD * _LANE
        elif stride < 0:
            accesses += _LANE
        if inner and not _moves(r, inner):
            registers += count
            continue  # in a register while the innermost loop runs
        ports += count * accesses
    spilled = max(0.0, registers - target.vector_registers + 2)
    ports += spilled * (_LOAD + _STORE)
    chain = (
        _LATENCY * _serial(stored, vector, unrolled, pieces)
        if inner and s.op and not _moves(stored, inner)
        else 0.0
    )
    if s.op is None and vector is None and inner:
        carried = [r for r in references if r.tensor in state and not _moves(r, inner)]
        serial = max((prod(x.trips for x in unrolled if not _moves(r, x.axis)) for r in carried), default=1.0)
        chain = serial * _depth(s.value, s, running[-1], {r.tensor for r in carried})
    cycles = max(arithmetic, ports, (arithmetic + ports) * 0.6, chain) + (_STEP if inner else 0.0)
    if vector is not None and not _moves(stored, vector.axis) and running:
        cycles += _FOLD * copies / pieces / running[-1].trips
    around, entries = body, 0.0
    for x in reversed(running):
        around *= x.trips
        entries += _ENTRY * body / around
    return (cycles + entries) / body


def _combines(s: StatementDef) -> bool:
    """Whether an assignment is an update of what its place holds already."""
    return isinstance(s.value, Binary) and any(
        isinstance(x, Load) and (x.buffer, x.index) == (s.target, s.index) for x in children(s.value)
    )


def _serial(stored: Reference, vector: Loop | None, unrolled: Sequence[Loop], pieces: float) -> float:
    """How many updates of one place follow each other in one iteration of the innermost running loop."""
    same = prod(x.trips for x in unrolled if not _moves(stored, x.axis))
    if vector is not None and not _moves(stored, vector.axis):
        return ceil(same * pieces / _SEPARATE_SUMS)
    return same


def _depth(e: Expr, s: StatementDef, loop: Loop, state: Collection[str], added: bool = False) -> float:
    """The latency of the operations from a value that iterations hand on (of `state`, or the statement's own earlier
    result) to `e`; 0 where it is not in it."""
    match e:
        case Load():
            own = e.buffer == s.target and _before(e, s, loop)
            return 1.0 if own or e.buffer in state else 0.0
        case Binary(op="add" | "sub"):
            below = max(_depth(x, s, loop, state, True) for x in children(e))
        case _:
            below = max((_depth(x, s, loop, state) for x in children(e)), default=0.0)
    if not below:
        return 0.0
    match e:
        case Binary(op="div"):
            return below + _DIVISION_LATENCY
        case Binary(op="mul") if added:
            return below  # one instruction with the addition
        case Binary() | Unary():
            return below + _LATENCY
        case Call():
            return below + _FUNCTION
        case _:
            return below


def _before(e: Load, s: StatementDef, loop: Loop) -> bool:
    """Whether a load reads what the statement stored in an iteration of the loop not long before."""
    near = False
    for a, b in zip(e.index, s.index, strict=True):
        read, stored = to_affine(a), to_affine(b)
        if read is None or stored is None:
            return False
        distance = stored - read
        if not distance.is_constant:
            return False
        along = loop.axis in stored.names()
        if along:
            near = 0 < distance.constant * loop.sign <= 2
        elif distance.constant:
            return False
    return near or not any(loop.axis in f.names() for x in s.index if (f := to_affine(x)) is not None)


def _arithmetic(e: Expr, update: bool) -> float:
    """Cycles of the operations of a value; a product that is added at once costs nothing of its own."""
    return _operations(e, update) + (_OPERATION if update else 0.0)


def _operations(e: Expr, added: bool = False) -> float:
    match e:
        case Load():
            return 0.0
        case Binary(op="div"):
            return _DIVISION + sum(_operations(x) for x in children(e))
        case Call(function="fma"):
            return _OPERATION + sum(_operations(x) for x in children(e))
        case Call():
            return _FUNCTION + sum(_operations(x) for x in children(e))
        case Binary(op="mul"):
            return (0.0 if added else _OPERATION) + sum(_operations(x) for x in children(e))
        case Binary(op="add" | "sub", a=a, b=b):
            fused = isinstance(b, Binary) and b.op == "mul"
            return _OPERATION + _operations(a, not fused) + _operations(b, fused)
        case Binary() | Unary() | Select():
            return _OPERATION + sum(_operations(x) for x in children(e))
        case _:
            return sum(_operations(x) for x in children(e))


def _moves(r: Reference, axis: str) -> bool:
    return any(name == axis for terms in r.subscripts for name, _ in terms)


def _stride(r: Reference, axis: str) -> int:
    """Elements between neighbours along an axis: 0, 1, -1, or 2 for all else."""
    if not _moves(r, axis):
        return 0
    if any(name == axis for terms in r.subscripts[:-1] for name, _ in terms):
        return 2
    total = sum(c for name, c in r.subscripts[-1] if name == axis)
    return total if abs(total) <= 1 else 2
