"""Finding and rewriting places in a schedule tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from polydl.errors import NotApplicable, UsageError
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.tree import (
    Allocate,
    Band,
    Filter,
    Leaf,
    Mark,
    Member,
    Sequence,
    Tree,
    children,
    map_tree,
    members,
    with_child,
)
from polydl.poly.treetext import render
from polydl.vocabulary import Binding

__all__ = [
    "Path",
    "at",
    "axes_by_depth",
    "band_of",
    "band_with",
    "interval",
    "normalise",
    "replace_at",
    "require_nesting",
    "resolve",
    "restrict",
    "unique_name",
    "without_allocation",
]

Path = tuple[int, ...]
"""Child positions from the root."""


def resolve(tree: Tree, name: str) -> str:
    """`name` if it is a loop of the tree; UsageError listing the loops otherwise."""
    names = [m.name for m in members(tree)]
    if name not in names:
        raise UsageError(f"there is no loop '{name}'", next=f"use one of {', '.join(names) or '(no loops)'}")
    return name


def band_of(tree: Tree, name: str) -> tuple[Path, Band, int]:
    """The band that holds the loop `name`, the path to it, and the loop's position in it."""

    def search(node: Tree) -> tuple[Path, Band, int] | None:
        if isinstance(node, Band):
            for i, m in enumerate(node.members):
                if m.name == name:
                    return (), node, i
        for k, child in enumerate(children(node)):
            found = search(child)
            if found is not None:
                path, band, position = found
                return (k, *path), band, position
        return None

    result = search(tree)
    if result is None:
        resolve(tree, name)  # which says what loops there are
        raise UsageError(f"there is no loop '{name}'")
    return result


def band_with(tree: Tree, loops: tuple[str, ...], advice: str) -> tuple[Path, Band, dict[str, Member]]:
    """The band that holds all of the loops, with where it is and its members by name; NotApplicable if none does."""
    path, band, _ = band_of(tree, loops[0])
    by_name = {m.name: m for m in band.members}
    missing = [n for n in loops if n not in by_name]
    if missing:
        raise NotApplicable(
            f"loops {', '.join(missing)} are not in one band with {loops[0]}",
            where=f"band({', '.join(by_name)})",
            next=advice,
        )
    return path, band, by_name


def axes_by_depth(tree: Tree, statement: str) -> tuple[str, ...]:
    """The names in a statement's time coordinates, in the order in which the loops around it come to use them."""
    seen: dict[str, None] = {}
    for m in members(tree):
        for s, e in m.exprs:
            if s == statement:
                seen.update(dict.fromkeys(sorted(e.names())))
    return tuple(seen)


def at(tree: Tree, path: Path) -> Tree:
    """The subtree at `path`."""
    for k in path:
        tree = children(tree)[k]
    return tree


def replace_at(tree: Tree, path: Path, new: Tree) -> Tree:
    """The tree with the subtree at `path` replaced."""
    if not path:
        return new
    match tree:
        case Sequence(children=below):
            changed = replace_at(below[path[0]], path[1:], new)
            if not isinstance(changed, Filter):
                raise UsageError("a child of a sequence must be a filter")
            return Sequence((*below[: path[0]], changed, *below[path[0] + 1 :]))
        case Band() | Filter() | Allocate() | Mark():
            return with_child(tree, replace_at(tree.child, path[1:], new))
        case _:
            raise UsageError("the path leaves the tree")


def normalise(tree: Tree) -> Tree:
    """Directly nested bands become one; empty bands and sequences of one unconditional filter disappear."""

    def step(node: Tree) -> Tree:
        match node:
            case Band(members=(), child=child):
                return child
            case Band(members=outer, child=Band(members=inner, child=child)):
                return Band(outer + inner, child)
            case Sequence(children=(Filter(selections=selections, child=child),)) if not any(
                s.condition for s in selections
            ):
                return child
            case _:
                return node

    return map_tree(tree, step)


def require_nesting(tree: Tree) -> None:
    """NotApplicable where a vector or parallel loop is inside a vector loop: a lane is one iteration."""

    def go(node: Tree, vector: str) -> None:
        if isinstance(node, Band):
            for m in node.members:
                if vector and m.binding in (Binding.VECTOR, Binding.PARALLEL):
                    raise NotApplicable(
                        f"{m.binding.value} loop {m.name} is inside vector loop {vector}",
                        where="\n" + render(tree, m.name),
                        why="a lane runs its part of the body alone and in order",
                        next=f"Sequential('{m.name}'), or reorder {vector} inside it",
                    )
                vector = m.name if m.binding is Binding.VECTOR else vector
        for child in children(node):
            go(child, vector)

    go(tree, "")


def restrict(tree: Tree, statements: Iterable[str]) -> Tree | None:
    """The tree for these statements alone; None where none of them is below."""
    keep = frozenset(statements)

    def go(node: Tree) -> Tree | None:
        match node:
            case Leaf():
                return node
            case Band(members=ms, child=child):
                below = go(child)
                kept = tuple(replace(m, exprs=tuple(e for e in m.exprs if e[0] in keep)) for m in ms)
                return None if below is None else Band(tuple(m for m in kept if m.exprs), below)
            case Sequence(children=branches):
                alive = [b for b in map(go, branches) if isinstance(b, Filter)]
                return Sequence(tuple(alive)) if alive else None
            case Filter(selections=selections, child=child):
                chosen = tuple(s for s in selections if s.statement in keep)
                below = go(child) if chosen else None
                return None if below is None else Filter(chosen, below)
            case Allocate(child=child) | Mark(child=child):
                below = go(child)
                return None if below is None else with_child(node, below)

    return go(tree)


def without_allocation(tree: Tree, tensor: str) -> Tree:
    """The tree without the places where a tensor gets its storage."""
    return map_tree(
        tree, lambda node: node.child if isinstance(node, Allocate) and node.tensor == tensor else node
    )


def unique_name(tree: Tree, base: str, taken: Iterable[str] = ()) -> str:
    """`base`, or `base` with a number, not yet a loop of the tree."""
    names = {m.name for m in members(tree)} | set(taken)
    candidate, n = base, 2
    while candidate in names:
        candidate, n = f"{base}{n}", n + 1
    return candidate


def rename_members(tree: Tree, rename: Callable[[str], str]) -> Tree:
    """The tree with every loop renamed."""

    def step(node: Tree) -> Tree:
        if isinstance(node, Band):
            return Band(tuple(replace(m, name=rename(m.name)) for m in node.members), node.child)
        return node

    return map_tree(tree, step)


def interval(e: Affine, ranges: dict[str, tuple[int, int]]) -> tuple[int, int] | None:
    """The least and greatest value of `e` over a box of its names (inclusive); None where a name has no range."""
    low = high = e.constant
    for atom, c in e.terms:
        match atom:
            case FloorDiv(dividend, divisor):
                inner = interval(dividend, ranges)
                span = None if inner is None else (inner[0] // divisor, inner[1] // divisor)
            case Mod(dividend, modulus):
                inner = interval(dividend, ranges)
                span = (0, modulus - 1)
                if inner is not None and inner[0] // modulus == inner[1] // modulus:
                    span = (inner[0] % modulus, inner[1] % modulus)
            case _:
                span = ranges.get(atom)
        if span is None:
            return None
        low += c * span[0] if c > 0 else c * span[1]
        high += c * span[1] if c > 0 else c * span[0]
    return low, high
