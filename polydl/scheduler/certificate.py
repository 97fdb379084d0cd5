"""A schedule as the statement of its certificate: plain data that says the program and both orders, without isl."""

from __future__ import annotations

from typing import Any, assert_never

from polydl.certificate import certificate_text
from polydl.errors import NotApplicable
from polydl.poly.model import Scop
from polydl.poly.paths import initial_tree
from polydl.poly.tree import Allocate, Band, Filter, Leaf, Mark, Sequence, Tree
from polydl.scheduler.schedule import Schedule

__all__ = ["certificate", "program_of", "stated"]


def certificate(schedule: Schedule) -> str:
    """The certificate of a schedule as JSON text. It is about the statements as they are now: what a transformation
    has made of the function's statements (inlining, packing, …) is its own matter."""
    return certificate_text(stated(schedule))


def stated(schedule: Schedule) -> dict[str, Any]:
    """What the certificate of a schedule is about."""
    return program_of(schedule.scop, schedule.function.order, schedule.tree, schedule.reassociate)


def program_of(scop: Scop, original: Tree | None, tree: Tree, reassociate: bool) -> dict[str, Any]:
    """The program, its original order (None: the textual one) and a tree, as `certificate/statement.py` reads them."""
    return {
        "parameters": list(scop.parameters),
        "context": _condition(scop.context),
        "reassociate": reassociate,
        "tensors": {
            name: [[str(low), str(up)] for low, up in zip(box.lower, box.upper, strict=True)]
            for name, box in scop.tensors
        },
        "statements": [
            {
                "name": s.name,
                "iterators": list(s.iterators),
                "domain": _condition(s.domain),
                "accesses": [
                    [a.kind.value, a.tensor, [None if e is None else str(e) for e in a.subscripts]]
                    for a in s.accesses
                ],
                "reduction": s.reduction,
            }
            for s in scop.statements
        ],
        "original": _node(initial_tree(scop) if original is None else original),
        "schedule": _node(tree),
    }


def _condition(text: str) -> str:
    """The condition of isl text of one set."""
    if not text:
        return ""
    body = text[text.index("{") + 1 : text.rindex("}")]
    if ";" in body:
        raise NotApplicable("a domain of several parts has no certificate", where=text)
    return body.partition(":")[2].strip()


def _node(tree: Tree) -> dict[str, Any]:
    match tree:
        case Leaf():
            return {"leaf": True}
        case Mark(child=child):
            return _node(child)
        case Allocate(tensor=tensor, child=child):
            return {"allocate": tensor, "below": _node(child)}
        case Band(members=members, child=child):
            loops = [
                {"loop": m.name, "binding": m.binding.value, "times": {s: str(e) for s, e in m.exprs}}
                for m in members
            ]
            return {"band": loops, "below": _node(child)}
        case Filter():
            return _filter(tree)
        case Sequence(children=children):
            return {"sequence": [_filter(f) for f in children]}
        case _:
            assert_never(tree)


def _filter(node: Filter) -> dict[str, Any]:
    return {"take": {s.statement: s.condition for s in node.selections}, "below": _node(node.child)}
