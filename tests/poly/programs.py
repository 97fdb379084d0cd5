"""Programs and trees that the tests of the polyhedral model share."""

from __future__ import annotations

from dataclasses import replace

from polydl.poly import (
    Access,
    AccessKind,
    Affine,
    Band,
    Box,
    Filter,
    Leaf,
    Member,
    Scop,
    Selection,
    Sequence,
    Statement,
    Tree,
    map_tree,
)
from polydl.poly.affine import constant, dim, parse
from polydl.vocabulary import Binding

READ, WRITE, UPDATE = AccessKind.READ, AccessKind.WRITE, AccessKind.UPDATE


def access(kind: AccessKind, tensor: str, *subscripts: str | None) -> Access:
    return Access(kind, tensor, tuple(None if s is None else parse(s) for s in subscripts))


def box(*sizes: int | str) -> Box:
    return Box(tuple(constant(0) for _ in sizes), tuple(parse(str(s)) for s in sizes))


def statement(domain: str, *accesses: Access, reduction: str | None = None) -> Statement:
    """`domain` like `"S[i, j] : 0 <= i < 4 and …"`, with parameters before `->` if any."""
    parameters, _, rest = domain.rpartition("->")
    name, _, tail = rest.strip().partition("[")
    iterators = tuple(i.strip() for i in tail.partition("]")[0].split(",") if i.strip())
    head = f"{parameters}-> " if parameters else ""
    return Statement(name, iterators, f"{head}{{ {rest.strip()} }}", accesses, reduction)


def scop(tensors: dict[str, Box], *statements: Statement, parameters: tuple[str, ...] = ()) -> Scop:
    context = (
        f"[{', '.join(parameters)}] -> {{ : {' and '.join(f'{p} >= 1' for p in parameters)} }}"
        if parameters
        else ""
    )
    return Scop(parameters, context, tuple(tensors.items()), statements)


def loop(name: str, binding: Binding = Binding.SEQUENTIAL, **exprs: str | Affine) -> Member:
    """`loop("i", S="i + 1")`."""
    return Member(name, tuple((s, parse(e) if isinstance(e, str) else e) for s, e in exprs.items()), binding)


def nest(*members: Member, child: Tree | None = None) -> Band:
    return Band(members, child or Leaf())


def sequence(**children: Tree) -> Sequence:
    return Sequence(tuple(Filter((Selection(s),), child) for s, child in children.items()))


def bind(tree: Tree, name: str, binding: Binding) -> Tree:
    """The tree with one loop bound otherwise."""

    def change(node: Tree) -> Tree:
        if not isinstance(node, Band):
            return node
        return Band(
            tuple(replace(m, binding=binding) if m.name == name else m for m in node.members), node.child
        )

    return map_tree(tree, change)


def seidel(n: int = 8) -> Scop:
    """In-place stencil: distances (1, 0), (0, 1) and (1, -1)."""
    return scop(
        {"A": box(n, n)},
        statement(
            f"S[i, j] : 1 <= i < {n} and 1 <= j < {n - 1}",
            access(WRITE, "A", "i", "j"),
            access(READ, "A", "i - 1", "j"),
            access(READ, "A", "i", "j - 1"),
            access(READ, "A", "i - 1", "j + 1"),
        ),
    )


def stages(n: int = 8) -> Scop:
    """`A[i] = …; B[i] = A[i] + A[i + 1]`."""
    return scop(
        {"A": box(n + 1), "B": box(n)},
        statement(f"P[i] : 0 <= i < {n + 1}", access(WRITE, "A", "i")),
        statement(
            f"C[i] : 0 <= i < {n}",
            access(READ, "A", "i"),
            access(READ, "A", "i + 1"),
            access(WRITE, "B", "i"),
        ),
    )


def convolution(size: int = 56, channels: int = 64) -> Scop:
    """3x3 convolution with bias and activation: initialisation, update, epilogue."""
    out = f"0 <= n < 1 and 0 <= k < {channels} and 0 <= h < {size} and 0 <= w < {size}"
    cell = ("n", "k", "h", "w")
    return scop(
        {
            "acc": box(1, channels, size, size),
            "X": box(1, channels, size + 2, size + 2),
            "F": box(channels, channels, 3, 3),
            "bias": box(channels),
            "out": box(1, channels, size, size),
        },
        statement(f"init[n, k, h, w] : {out}", access(WRITE, "acc", *cell)),
        statement(
            f"conv[n, k, h, w, c, r, s] : {out} and 0 <= c < {channels} and 0 <= r < 3 and 0 <= s < 3",
            access(UPDATE, "acc", *cell),
            access(READ, "X", "n", "c", "h + r", "w + s"),
            access(READ, "F", "k", "c", "r", "s"),
            reduction="add",
        ),
        statement(
            f"epilogue[n, k, h, w] : {out}",
            access(READ, "acc", *cell),
            access(READ, "bias", "k"),
            access(WRITE, "out", *cell),
        ),
    )


def tiled_convolution(channels: int = 16, columns: int = 14, depth: int = 16) -> Tree:
    """Tiles of output channels, columns and input channels; vector lanes are channels."""
    names = ("init", "conv", "epilogue")

    def shared(name: str, expr: Affine, binding: Binding = Binding.SEQUENTIAL) -> Member:
        return Member(name, tuple((s, expr) for s in names), binding)

    k, w, c = dim("k"), dim("w"), dim("c")
    outer = (
        shared("n", dim("n")),
        shared("k.o", k // channels, Binding.PARALLEL),
        shared("h", dim("h")),
        shared("w.o", w // columns),
    )
    parts = sequence(
        init=nest(loop("init.w", init=w % columns), loop("init.k", Binding.VECTOR, init=k % channels)),
        conv=nest(
            loop("c.o", conv=c // depth),
            loop("r", conv="r"),
            loop("s", conv="s"),
            loop("c.i", conv=c % depth),
            loop("w.i", Binding.UNROLL, conv=w % columns),
            loop("k.i", Binding.VECTOR, conv=k % channels),
        ),
        epilogue=nest(
            loop("epilogue.w", epilogue=w % columns),
            loop("epilogue.k", Binding.VECTOR, epilogue=k % channels),
        ),
    )
    return nest(*outer, child=parts)
