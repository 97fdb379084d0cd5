"""The loops of a kernel as plain C, statement by statement: what a person would have written, and nothing cleverer.

Emitted is a function `kernel` over doubles. Extents are parameters of type `long`, or constants, as PolyBench
compiles by default. The Python function is read through `ast`; whatever is outside the small language of the kernels
is refused.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.polybench.kernel import Kernel, Sizes
from polydl.errors import InvalidProgram

__all__ = ["Parameter", "emit", "parameters"]

_ARITHMETIC: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_FUNCTIONS: Final = frozenset({"exp", "sqrt"})
_CHOICES: Final = {"min": "<", "max": ">"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kernel: an array of doubles with symbolic extents, or a scalar (`f64`), or a `size`."""

    name: str
    kind: str
    extents: tuple[str, ...] = ()


def parameters(kernel: Kernel) -> tuple[Parameter, ...]:
    """The parameters of the kernel's function, from its annotations."""
    return tuple(_parameter(argument) for argument in _definition(kernel).args.args)


def emit(kernel: Kernel, *, constants: Sizes | None = None, restrict: bool = False) -> str:
    """The C of the kernel's loops.

    Without `constants`, the extents come first among the parameters, in the order of the kernel's data sets. `restrict`
    promises that arrays do not overlap.
    """
    definition = _definition(kernel)
    names = tuple(kernel.at("MINI"))
    head = ["#include <math.h>"]
    if constants is not None:
        head.append(f"enum {{ {', '.join(f'{name} = {constants[name]}' for name in names)} }};")
    declared = [] if constants is not None else [f"long {name}" for name in names]
    for parameter in parameters(kernel):
        if parameter.extents:
            first, *rest = parameter.extents
            brackets = f"[{'restrict ' if restrict else ''}{first}]" + "".join(f"[{n}]" for n in rest)
            declared.append(f"double {parameter.name}{brackets}")
        elif parameter.kind == "f64":
            declared.append(f"double {parameter.name}")
    writer = _Writer(kernel.name, integers=set(names), known={p.name for p in parameters(kernel)})
    writer.block(definition.body, 1)
    scalars = [f"    double {', '.join(writer.scalars)};"] if writer.scalars else []
    return "\n".join([*head, f"void kernel({', '.join(declared)})", "{", *scalars, *writer.lines, "}", ""])


def _definition(kernel: Kernel) -> ast.FunctionDef:
    function = inspect.unwrap(kernel.function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    match tree.body:
        case [ast.FunctionDef() as definition]:
            return definition
        case _:
            raise InvalidProgram(f"{kernel.name} is not one function definition")


def _parameter(argument: ast.arg) -> Parameter:
    annotation = argument.annotation
    if annotation is None:
        raise InvalidProgram(f"parameter {argument.arg} has no type", next='write it as x: "f64[N]"')
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    match annotation:
        case ast.Name(id=kind):
            return Parameter(argument.arg, kind)
        case ast.Subscript(value=ast.Name(id="f64"), slice=ast.Name(id=extent)):
            return Parameter(argument.arg, "f64", (extent,))
        case ast.Subscript(value=ast.Name(id="f64"), slice=ast.Tuple(elts=elements)):
            return Parameter(argument.arg, "f64", tuple(ast.unparse(element) for element in elements))
        case _:
            raise InvalidProgram(f"parameter {argument.arg} has the unknown type {ast.unparse(annotation)}")


@dataclass(slots=True)
class _Writer:
    """Statements to lines of C. `integers` holds the extents and the iterators in scope; all else is a double."""

    where: str
    integers: set[str]
    known: set[str]
    scalars: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def block(self, body: Sequence[ast.stmt], depth: int) -> None:
        for statement in body:
            self.statement(statement, depth)

    def statement(self, statement: ast.stmt, depth: int) -> None:
        indent = "    " * depth
        match statement:
            case ast.For(
                target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=arguments), orelse=[]
            ):
                self.lines.append(f"{indent}{self.loop(name, arguments)} {{")
                self.integers.add(name)
                self.block(statement.body, depth + 1)
                self.integers.discard(name)
                self.lines.append(f"{indent}}}")
            case ast.If():
                self.lines.append(f"{indent}if ({self.condition(statement.test)}) {{")
                self.block(statement.body, depth + 1)
                if statement.orelse:
                    self.lines.append(f"{indent}}} else {{")
                    self.block(statement.orelse, depth + 1)
                self.lines.append(f"{indent}}}")
            case ast.Assign(targets=[target]):
                value = self.value(statement.value)
                self.lines.append(f"{indent}{self.target(target)} = {value};")
            case ast.Assert():
                pass  # on the extents alone; what a caller must see to
            case ast.AugAssign(op=operator) if type(operator) in _ARITHMETIC:
                value = self.value(statement.value)
                sign = _ARITHMETIC[type(operator)]
                self.lines.append(f"{indent}{self.target(statement.target)} {sign}= {value};")
            case _:
                raise self.refusal(statement)

    def loop(self, name: str, arguments: Sequence[ast.expr]) -> str:
        bounds = [self.value(argument) for argument in arguments]
        match bounds:
            case [stop]:
                start, step = "0", "1"
            case [start, stop]:
                step = "1"
            case [start, stop, step] if step.strip("()").lstrip("-").isdigit():
                step = step.strip("()")
            case _:
                raise InvalidProgram(f"a range of {self.where} has no constant step")
        if step.startswith("-"):
            return f"for (long {name} = {start}; {name} > {stop}; {name} -= {step[1:]})"
        return f"for (long {name} = {start}; {name} < {stop}; {name} += {step})"

    def target(self, target: ast.expr) -> str:
        match target:
            case ast.Name(id=name):
                if name not in self.known:
                    self.known.add(name)
                    self.scalars.append(name)
                return name
            case ast.Subscript():
                return self.value(target)
            case _:
                raise self.refusal(target)

    def condition(self, test: ast.expr) -> str:
        match test:
            case ast.Compare(left=left, ops=[comparison], comparators=[right]) if (
                type(comparison) in _COMPARISONS
            ):
                return f"{self.value(left)} {_COMPARISONS[type(comparison)]} {self.value(right)}"
            case ast.BoolOp(op=ast.And(), values=values):
                return " && ".join(f"({self.condition(value)})" for value in values)
            case _:
                raise self.refusal(test)

    def value(self, expression: ast.expr) -> str:
        match expression:
            case ast.Constant(value=bool()):
                raise self.refusal(expression)
            case ast.Constant(value=int() | float() as number):
                return repr(number)
            case ast.Name(id=name) if name in self.integers or name in self.known:
                return name
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                indices = index.elts if isinstance(index, ast.Tuple) else [index]
                return name + "".join(f"[{self.value(i)}]" for i in indices)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"(-{self.value(operand)})"
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return f"pow({self.value(left)}, {self.value(right)})"
            case ast.BinOp(op=ast.Div(), left=left, right=right) if self.integral(left) and self.integral(
                right
            ):
                raise self.refusal(expression)  # C would round it
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
                return f"({self.value(left)} {_ARITHMETIC[type(operator)]} {self.value(right)})"
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return f"({self.condition(test)} ? {self.value(body)} : {self.value(orelse)})"
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
                return f"{name}({self.value(argument)})"
            case ast.Call(func=ast.Name(id=name), args=[left, right], keywords=[]) if name in _CHOICES:
                one, other = self.value(left), self.value(right)
                return f"({one} {_CHOICES[name]} {other} ? {one} : {other})"
            case _:
                raise self.refusal(expression)

    def integral(self, expression: ast.expr) -> bool:
        """Whether the expression holds nothing but integers."""
        return all(
            not isinstance(node, ast.Subscript | ast.Call)
            and not (isinstance(node, ast.Constant) and isinstance(node.value, float))
            and not (isinstance(node, ast.Name) and node.id not in self.integers)
            for node in ast.walk(expression)
        )

    def refusal(self, node: ast.AST) -> InvalidProgram:
        return InvalidProgram(
            f"{self.where} has what plain C loops are not made from",
            where=f"line {getattr(node, 'lineno', '?')}: {ast.unparse(node)}",
            next="write it with range loops, affine ifs, assignments, + - * / **, min, max, sqrt and exp",
        )
