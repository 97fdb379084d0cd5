"""Python source as it is captured: where things stand in it, what the parameters are, and errors that point at it.

The source is read with `inspect` and `ast` alone; nothing of it is executed.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from polydl.dtypes import INDEX, DType, by_name, from_numpy
from polydl.errors import InvalidProgram, OutOfBounds
from polydl.ir.semantics import limits

__all__ = [
    "ArrayParameter",
    "Parameter",
    "ScalarParameter",
    "SizeParameter",
    "Source",
    "outside",
    "read_parameters",
]

_ANNOTATION: Final = re.compile(r"\s*(\w+)\s*(?:\[(.*)\])?\s*", re.DOTALL)
_EXAMPLE: Final = 'write "f64[N, M]" for an array, "f64" for a scalar, "size" for a size'


@dataclass(frozen=True, slots=True)
class ArrayParameter:
    """`A: "f64[N, 3]"`: extents are numbers or names of sizes. One that is computed, as in `"f64[N + 1]"`, gets a name
    too, with the expression that it equals in `computed`."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]
    computed: tuple[tuple[str, ast.expr], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ScalarParameter:
    """`alpha: "f64"`."""

    name: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class SizeParameter:
    """`n: "size"`: a number that extents, bounds and conditions may use."""

    name: str


Parameter = ArrayParameter | ScalarParameter | SizeParameter


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The text of one Python function: `lines` as they stand in `file` from `first` (1-based) on."""

    name: str
    file: str
    first: int
    lines: tuple[str, ...]
    tree: ast.FunctionDef

    @staticmethod
    def of(function: Callable[..., Any]) -> Source:
        """The source of a function; InvalidProgram where Python does not know it, or where it is no plain `def`."""
        name = getattr(function, "__qualname__", repr(function))
        if not inspect.isfunction(function):
            raise InvalidProgram(
                f"{name} is a {type(function).__name__}, not a function written in Python",
                next='decorate a function: def kernel(A: "f64[N]"): …',
            )
        try:
            lines, first = inspect.getsourcelines(function)
        except (OSError, TypeError) as error:
            raise InvalidProgram(
                f"the source of {name} is not available", why=str(error), next="write the function in a file"
            ) from error
        tree = _parsed(lines)
        if not isinstance(tree, ast.FunctionDef):
            raise InvalidProgram(
                f"{name} is not a plain function",
                where=f"{inspect.getsourcefile(function)}:{first}",
                next="capture a function that begins with def, not a lambda or a coroutine",
            )
        plain = tuple(line.rstrip("\n") for line in lines)
        return Source(name, inspect.getsourcefile(function) or "<unknown>", first, plain, tree)

    def place(self, node: ast.AST) -> str:
        """File, line, and the text of `node` with carets under it, as lines of an error."""
        row = getattr(node, "lineno", 1) - 1
        body = self.lines[row]
        start = _characters(body, getattr(node, "col_offset", 0))
        same_line = getattr(node, "end_lineno", row + 1) == row + 1
        end = (
            _characters(body, getattr(node, "end_col_offset", len(body))) if same_line else len(body.rstrip())
        )
        shown = body.lstrip()
        shift = len(body) - len(shown)
        marker = " " * (start - shift) + "^" * max(end - start, 1)
        return f"\n    {self.file}:{self.first + row}, in {self.name}\n      {shown}\n      {marker}"

    def error(self, node: ast.AST, what: str, why: str = "", next: str = "") -> InvalidProgram:
        """The error that `node` cannot be captured."""
        return InvalidProgram(what, where=self.place(node), why=why, next=next)

    def out_of_bounds(self, node: ast.AST, what: str, why: str, next: str) -> OutOfBounds:
        return OutOfBounds(what, where=self.place(node), why=why, next=next)


def _parsed(lines: Sequence[str]) -> ast.stmt:
    """The first statement of the text, which may be indented, with continued lines and comments that are less so."""
    indented = lines[0][:1].isspace()
    try:
        (block,) = ast.parse("".join(["if True:\n", *lines] if indented else lines)).body
    except (SyntaxError, ValueError):
        return ast.Pass()
    if not indented:
        return block
    assert isinstance(block, ast.If)
    return ast.increment_lineno(block.body[0], -1)


def _characters(line: str, offset: int) -> int:
    """A column of `ast`, which counts bytes of UTF-8, in characters."""
    return len(line.encode()[:offset].decode(errors="ignore"))


def outside(function: Callable[..., Any]) -> dict[str, Any]:
    """The names that a function takes from around it, with their present values."""
    found: dict[str, Any] = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # of an enclosing function, and not assigned yet
            found.pop(name, None)
    return found


def read_parameters(source: Source) -> Iterator[Parameter]:
    """The parameters with their annotations; InvalidProgram where one has none or a wrong one."""
    _require_plain_names(source)
    arguments = source.tree.args
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            raise source.error(
                extra, f"{source.name} takes any number of arguments", next="name every parameter"
            )
    for default in (*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)):
        raise source.error(default, "a parameter has a default value", next="give the value in the call")
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        yield _parameter(source, argument)


def _require_plain_names(source: Source) -> None:
    """InvalidProgram where a name has letters that isl and C do not know."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) if not name.isascii():
                raise _not_plain(source, node, name)


def _not_plain(source: Source, node: ast.AST, name: str) -> InvalidProgram:
    return source.error(
        node,
        f"the name '{name}' has other letters than a to z",
        next="use ASCII letters, digits and _",
    )


def _parameter(source: Source, argument: ast.arg) -> Parameter:
    note = argument.annotation
    if note is None:
        raise source.error(argument, f"parameter {argument.arg} has no type", next=_EXAMPLE)
    text = note.value if isinstance(note, ast.Constant) and isinstance(note.value, str) else ast.unparse(note)
    match = _ANNOTATION.fullmatch(text)
    if match is None:
        raise source.error(note, f"'{text}' is no type of a parameter", next=_EXAMPLE)
    kind, extents = match.groups()
    if kind == "size" and extents is None:
        return SizeParameter(argument.arg)
    dtype = _dtype(source, note, kind)
    if extents is None:
        return ScalarParameter(argument.arg, dtype)
    shape: list[int | str] = []
    computed: list[tuple[str, ast.expr]] = []
    for d, extent in enumerate(_extents(source, note, extents)):
        match extent:
            case ast.Constant(value=int(number)) if number <= limits(INDEX)[1]:
                shape.append(number)
            case ast.Name(id=size) if size.isascii():
                shape.append(size)
            case ast.Name(id=size):
                raise _not_plain(source, note, size)
            case _:
                name = _unused(source, f"{argument.arg}_{d}")
                shape.append(name)
                computed.append((name, extent))
    return ArrayParameter(argument.arg, dtype, tuple(shape), tuple(computed))


def _extents(source: Source, note: ast.expr, text: str) -> list[ast.expr]:
    """The extents in brackets as expressions that stand where the annotation stands; none of an array of rank 0."""
    try:
        body = ast.parse(f"[{text}]", mode="eval").body
    except SyntaxError:
        body = ast.Constant(None)
    match body:
        case ast.List(elts=[ast.Tuple(elts=extents)]) | ast.List(elts=extents):
            pass
        case _:
            raise source.error(
                note, f"'[{text}]' are not numbers, names or expressions of such, with commas", next=_EXAMPLE
            )
    for node in (n for e in extents for n in ast.walk(e)):
        ast.copy_location(node, note)
    return extents


def _unused(source: Source, name: str) -> str:
    """`name`, or one like it that the program does not use."""
    words = set(re.findall(r"\w+", "\n".join(source.lines)))
    while name in words:
        name += "_"
    return name


def _dtype(source: Source, note: ast.AST, name: str) -> DType:
    try:
        return by_name(name)
    except InvalidProgram:
        pass
    try:
        return from_numpy(name)
    except (InvalidProgram, TypeError):
        raise source.error(note, f"there is no element type '{name}'", next=_EXAMPLE) from None
