"""Schedule trees as text: `parse_tree(format_tree(t)) == t`.

    band init, conv
      for n [parallel] = n
      for k.o = floor((k)/16)
      for c.o = init: 0; conv: floor((c)/8)
      sequence
        filter init
          leaf
        filter conv if c <= 3
          leaf

A band lists its statements in the order of its members' expressions; a loop whose expression is the same for all of
them says it once. A filter of several selections with conditions has one `select` line for each. Conditions are kept
as written, on one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn, assert_never

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine, parse
from polydl.poly.tree import (
    Allocate,
    Band,
    Filter,
    Leaf,
    Mark,
    Member,
    Selection,
    Sequence,
    Tree,
)
from polydl.vocabulary import Binding, Memory

__all__ = ["annotated", "format_tree", "parse_tree", "render"]


def format_tree(tree: Tree) -> str:
    """The tree as indented text, without a final newline."""
    return "\n".join("  " * depth + text for depth, text, _ in _lines(tree, 0))


def render(tree: Tree, pointer: str = "", note: str = "") -> str:
    """The tree as text with loop `pointer` marked, and a note under it."""
    out = []
    for depth, text, loop in _lines(tree, 0):
        marked = bool(pointer) and loop == pointer
        line = "  " * depth + text
        out.append((">" if marked else " ") + " " + line)
        if marked:
            out.append("  " + "  " * depth + "^" * len(text) + (f" {note}" if note else ""))
    return "\n".join(out)


def annotated(tree: Tree, notes: Mapping[str, str]) -> str:
    """The tree as text with a note behind each loop that has one, all in one column."""
    lines = [
        ("  " * depth + text, notes.get(loop, "") if loop else "") for depth, text, loop in _lines(tree, 0)
    ]
    width = max(len(text) for text, _ in lines)
    return "\n".join(f"{text:<{width}}  {note}" if note else text for text, note in lines)


def _lines(tree: Tree, depth: int) -> list[tuple[int, str, str]]:
    """`(depth, text, loop name or "")` of every line."""
    match tree:
        case Leaf():
            return [(depth, "leaf", "")]
        case Mark(label=label, child=child):
            return [(depth, f"mark {json.dumps(label)}", ""), *_lines(child, depth + 1)]
        case Allocate(tensor=tensor, memory=memory, child=child):
            return [(depth, f"allocate {tensor} {memory.value}", ""), *_lines(child, depth + 1)]
        case Sequence(children=filters):
            head = [(depth, "sequence", "")]
            return head + [line for f in filters for line in _lines(f, depth + 1)]
        case Filter(selections=selections, child=child):
            return [*_filter_lines(selections, depth), *_lines(child, depth + 1)]
        case Band(members=members, child=child):
            order = [s for s, _ in members[0].exprs] if members else []
            lines = [(depth, f"band {', '.join(order)}".rstrip(), "")]
            lines += [(depth + 1, _member_text(m, order), m.name) for m in members]
            return lines + _lines(child, depth + 1)
        case _:
            assert_never(tree)


def _filter_lines(selections: tuple[Selection, ...], depth: int) -> list[tuple[int, str, str]]:
    if len(selections) == 1 and selections[0].condition:
        return [(depth, f"filter {selections[0].statement} if {selections[0].condition}", "")]
    if not any(s.condition for s in selections):
        return [(depth, f"filter {', '.join(s.statement for s in selections)}".rstrip(), "")]
    chosen = [f"select {s.statement}" + (f" if {s.condition}" if s.condition else "") for s in selections]
    return [(depth, "filter", ""), *((depth + 1, text, "") for text in chosen)]


def _member_text(member: Member, order: list[str]) -> str:
    binding = "" if member.binding is Binding.SEQUENTIAL else f" [{member.binding.value}]"
    same = len({e for _, e in member.exprs}) == 1 and [s for s, _ in member.exprs] == order
    value = str(member.exprs[0][1]) if same else "; ".join(f"{s}: {e}" for s, e in member.exprs)
    return f"for {member.name}{binding} = {value}".rstrip()


_LOOP = re.compile(r"for (?P<name>\S+)(?: \[(?P<binding>\w+)\])? =(?: (?P<value>.*))?")
_CHOICE = re.compile(r"(?P<statement>\w+)(?: if (?P<condition>.*))?")


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = [
            (len(line) - len(line.lstrip(" ")), line.strip(), number)
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
        self.at = 0

    def fail(self, why: str) -> NoReturn:
        number = self.lines[self.at][2] if self.at < len(self.lines) else "the end"
        raise InvalidProgram("cannot parse the schedule tree", where=f"line {number}", why=why)

    def peek(self, indent: int) -> str:
        """The next line if it is at this indentation, else ""."""
        if self.at < len(self.lines) and self.lines[self.at][0] == indent:
            return self.lines[self.at][1]
        return ""

    def node(self, indent: int) -> Tree:
        line = self.peek(indent)
        word, _, rest = line.partition(" ")
        if not line:
            self.fail("a node is missing or not indented by two spaces")
        self.at += 1
        match word:
            case "leaf" if not rest:
                return Leaf()
            case "mark":
                return Mark(self.quoted(rest), self.node(indent + 2))
            case "allocate":
                tensor, _, memory = rest.partition(" ")
                if memory not in {m.value for m in Memory}:
                    self.at -= 1
                    self.fail(f"there is no memory '{memory}'")
                return Allocate(tensor, Memory(memory), self.node(indent + 2))
            case "sequence" if not rest:
                filters: list[Filter] = []
                while self.peek(indent + 2):
                    child = self.node(indent + 2)
                    if not isinstance(child, Filter):
                        self.fail("the children of a sequence are filters")
                    filters.append(child)
                return Sequence(tuple(filters))
            case "filter":
                return Filter(self.selections(rest, indent), self.node(indent + 2))
            case "band":
                order = [s.strip() for s in rest.split(",")] if rest else []
                loops = []
                while self.peek(indent + 2).startswith("for "):
                    loops.append(self.member(self.peek(indent + 2), order))
                    self.at += 1
                return Band(tuple(loops), self.node(indent + 2))
            case _:
                self.at -= 1
                return self.fail(f"'{line}' is not a node")

    def quoted(self, text: str) -> str:
        try:
            label = json.loads(text)
        except json.JSONDecodeError:
            label = None
        if not isinstance(label, str):
            self.fail("a mark has a quoted label")
        return label

    def selections(self, rest: str, indent: int) -> tuple[Selection, ...]:
        if " if " in rest:
            return (self.choice(rest),)
        if rest:
            return tuple(Selection(name.strip()) for name in rest.split(","))
        chosen = []
        while self.peek(indent + 2).startswith("select "):
            chosen.append(self.choice(self.peek(indent + 2).removeprefix("select ")))
            self.at += 1
        return tuple(chosen)

    def choice(self, text: str) -> Selection:
        match = _CHOICE.fullmatch(text)
        if match is None:
            self.fail(f"'{text}' is not a selection")
        return Selection(match["statement"], match["condition"] or "")

    def member(self, line: str, order: list[str]) -> Member:
        match = _LOOP.fullmatch(line)
        if match is None:
            self.fail(f"'{line}' is not a loop")
        binding = match["binding"] or "sequential"
        if binding not in {b.value for b in Binding}:
            self.fail(f"there is no binding '{binding}'")
        value = match["value"] or ""
        exprs: tuple[tuple[str, Affine], ...]
        if ":" in value:
            pairs = [part.partition(":") for part in value.split(";")]
            exprs = tuple((s.strip(), parse(e.strip())) for s, _, e in pairs)
        else:
            exprs = tuple((s, parse(value)) for s in order) if value else ()
        return Member(match["name"], exprs, Binding(binding))


def parse_tree(text: str) -> Tree:
    """The tree that `format_tree` printed. Raises `InvalidProgram` naming the line."""
    reader = _Reader(text)
    tree = reader.node(0)
    if reader.at != len(reader.lines):
        reader.fail("there is more after the tree")
    return tree
