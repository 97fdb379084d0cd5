"""Small programs whose schedules are easily wrong."""

from __future__ import annotations

from polydl.dsl import FunctionBuilder
from polydl.scheduler import ComputeAt, Fuse, Schedule
from tests.scheduler.programs import normalised


def pair() -> Schedule:
    """A producer and a consumer that reads two of its neighbours."""
    f = FunctionBuilder("pair")
    x = f.input("x", (20,))
    a = f.compute("a", {"i": 20}, lambda i: x[i] * 2)
    b = f.compute("b", {"i": (1, 19)}, lambda i: a[i - 1] + a[i + 1])
    return Schedule.of(f.build([b]))


def updated() -> Schedule:
    """A tensor that is read, then stored to, then read again."""
    f = FunctionBuilder("updated")
    x = f.input("x", (8,))
    a = f.compute("a", {"i": 8}, lambda i: x[i])
    b = f.compute("b", {"i": 8}, lambda i: a[i] * 2)
    f.compute("again", {"i": 8}, lambda i: x[7 - i], into=a)
    c = f.compute("c", {"i": 8}, lambda i: a[i] + b[i])
    return Schedule.of(f.build([c]))


def prefix(n: int = 16) -> Schedule:
    """Running sums in place: every point reads its left neighbour's result."""
    f = FunctionBuilder("prefix")
    x = f.input("x", (n,))
    y = f.temporary("y", (n,))
    f.compute("first", {"i": n}, lambda i: x[i], into=y)
    f.compute("sums", {"i": (1, n)}, lambda i: y[i - 1] + y[i], into=y)
    return Schedule.of(f.build([y]))


def transposed() -> Schedule:
    """A consumer that reads its producer transposed."""
    f = FunctionBuilder("transposed")
    x = f.input("x", (8, 8))
    a = f.compute("a", {"i": 8, "j": 8}, lambda i, j: x[i, j] + 1)
    b = f.compute("b", {"i": 8, "j": 8}, lambda i, j: a[j, i])
    return Schedule.of(f.build([b]))


def transposed_symbolic() -> Schedule:
    f = FunctionBuilder("transposed")
    (n,) = f.sizes("N")
    x = f.input("x", (n, n))
    a = f.compute("a", {"i": n, "j": n}, lambda i, j: x[i, j] + 1)
    b = f.compute("b", {"i": n, "j": n}, lambda i, j: a[j, i])
    return Schedule.of(f.build([b]))


def rowwise() -> Schedule:
    """Row sums, and the rows divided by them in the same loop over rows."""
    return normalised().schedule().apply(Fuse(("i", "top.i", "rest.i", "total_init.i", "total.i", "y.i")))


def prefix_temporary() -> Schedule:
    f = FunctionBuilder("prefix")
    x = f.input("x", (16,))
    y = f.temporary("y", (16,))
    f.compute("first", {"i": 16}, lambda i: x[i], into=y)
    f.compute("sums", {"i": (1, 16)}, lambda i: y[i - 1] + y[i], into=y)
    z = f.compute("z", {"i": 16}, lambda i: y[i])
    return Schedule.of(f.build([z])).apply(Fuse(("i", "sums.i")))


def delayed() -> Schedule:
    return pair().apply(ComputeAt("a", "b.i", "b"))


def diagonal() -> Schedule:
    """Points depend on their upper right neighbours, in place."""
    f = FunctionBuilder("diagonal")
    x = f.input("x", (6, 9))
    a = f.temporary("a", (6, 9))
    f.compute("load", {"i": 6, "j": 9}, lambda i, j: x[i, j], into=a)
    f.compute("seidel", {"i": (1, 6), "j": 8}, lambda i, j: a[i - 1, j + 1] + a[i, j], into=a)
    return Schedule.of(f.build([a]))


def overwritten() -> Schedule:
    f = FunctionBuilder("overwritten")
    x = f.input("x", (8,))
    a = f.compute("a", {"i": 8}, lambda i: x[i])
    f.compute("step", {"t": 4, "i": 8}, lambda t, i: a[i] + a[0], into=a, at=lambda t, i: [i])
    return Schedule.of(f.build([a]))


def thirds() -> Schedule:
    """Two of three elements are read, the others overwritten: a packed box has all."""
    f = FunctionBuilder("thirds")
    x = f.input("x", (27,))
    a = f.compute("a", {"i": 27}, lambda i: x[i])
    b = f.compute("b", {"i": 8}, lambda i: a[i * 3] + a[i * 3 + 2])
    f.compute("third", {"i": 8}, lambda i: x[i], into=a, at=lambda i: [i * 3 + 4])
    c = f.compute("c", {"i": 8}, lambda i: a[i] + b[i])
    return Schedule.of(f.build([c]))


def odd_and_even() -> Schedule:
    """Even elements are read, odd ones overwritten."""
    f = FunctionBuilder("odd_and_even")
    x = f.input("x", (20,))
    a = f.compute("a", {"i": 20}, lambda i: x[i])
    b = f.compute("b", {"i": 8}, lambda i: a[i * 2] + a[i * 2 + 2])
    f.compute("odd", {"i": 8}, lambda i: x[i], into=a, at=lambda i: [i * 2 + 3])
    c = f.compute("c", {"i": 8}, lambda i: a[i] + b[i])
    return Schedule.of(f.build([c]))


def triangle_sums() -> Schedule:
    f = FunctionBuilder("triangle")
    (n,) = f.sizes("N")
    x = f.input("x", (n,))
    y = f.temporary("y", (n,))
    f.compute("first", {"i": n}, lambda i: x[i], into=y)
    f.compute(
        "sums",
        {"i": n, "j": n},
        lambda i, j: y[j] + x[i],
        into=y,
        at=lambda i, j: [j],
        where=lambda i, j: j <= i,
    )
    return Schedule.of(f.build([y]))
