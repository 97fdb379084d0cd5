"""Programs that make no sense are refused in words of the language, where they are written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder, argmax_over, sum_over
from polydl.dtypes import BOOL, F32, INDEX
from polydl.errors import InvalidProgram, UsageError
from polydl.ir.expr import Const, Var, as_expr

Builder = Any  # what is wrong here is wrong for the type checker too


def one(b: Builder, extents: Any, name: str = "C") -> Any:
    return b.compute(name, extents, lambda i: b.input("A", (4,))[i])


WRONG: dict[str, tuple[Callable[[Builder], Any], str]] = {
    "name of an axis": (lambda b: one(b, {"i;": 4}), "'i;' cannot be the name of an axis"),
    "number as a name": (lambda b: one(b, {1: 4}), "1 cannot be the name of an axis"),
    "reserved axis": (lambda b: one(b, {"mod": 4}), "the name 'mod' of an axis is reserved"),
    "axes of one name": (lambda b: b.compute("C", "i i", lambda i, j: 1.0), "two axes are called i"),
    "range of three": (lambda b: one(b, {"i": (0, 1, 2)}), "the range of axis i is 3 values"),
    "extent as text": (lambda b: one(b, {"i": "N"}), "a str stands where a number"),
    "no value": (lambda b: b.compute("C", {"i": 4}, lambda i: None), "a NoneType stands where a number"),
    "an array": (
        lambda b: b.compute("C", {"i": 4}, lambda i: b.input("A", (4,))[i] * np.ones(3)),
        "a ndarray stands where a number",
    ),
    "a slice": (lambda b: b.compute("C", {"i": 4}, lambda i: b.input("A", (4,))[0:2]), "a slice stands"),
    "arguments of the body": (
        lambda b: b.compute("C", {"i": 4}, lambda i, j: 1.0),
        "the body of C takes other arguments than its 1 axes\n  why: missing a required argument: 'j'",
    ),
    "no body": (lambda b: b.compute("C", {"i": 4}, 3), "the body of C is a int, not a function"),
    "condition that is none": (
        lambda b: b.compute("C", {"i": 4}, lambda i: 1.0, where=lambda i: None),
        "a NoneType stands where",
    ),
    "assumption as text": (lambda b: b.assume("N > 3"), "a str stands where"),
    "sum in a sum": (
        lambda b: b.compute("C", {"i": 4}, lambda i: sum_over({"k": 3}, lambda k: k) + 1),
        "a Reduce is the whole body of a computation",
    ),
    "arguments of a sum": (
        lambda b: b.compute("C", {"i": 4}, lambda i: sum_over({"k": 3}, lambda: 1.0)),
        "the body of a reduction takes other arguments",
    ),
    "place in an expression": (
        lambda b: b.compute("C", {"i": 4}, lambda i: -argmax_over({"k": 3}, lambda k: k)),
        "an? Arg is the whole body",
    ),
    "size of two words": (lambda b: b.sizes("N-1"), "'N-1' cannot be the name of a size"),
    "reserved size": (lambda b: b.sizes("exists"), "reserved"),
    "element type as text": (lambda b: b.input("A", (4,), "f32"), "'f32' is no element type of A"),
    "shape without brackets": (lambda b: b.input("A", 4), "the shape of A is a int"),
    "no name": (lambda b: b.input(None, (4,)), "None cannot be the name of a tensor"),
    "no text": (lambda b: b.einsum(None, b.input("A", (4,))), "None is no einsum"),
}


@pytest.mark.parametrize("what", WRONG)
def test_refused_where_it_is_written(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(InvalidProgram, match=message):
        make(FunctionBuilder("f"))


def later(b: Builder) -> Any:
    first = b.temporary("T", (4,))
    result = b.compute("C", {"i": 4}, lambda i: first[i])
    b.compute("D", {"i": 4}, lambda i: 1.0, into=first)
    return result


UNFINISHED: dict[str, tuple[Callable[[Builder], Any], str]] = {
    "undeclared size": (
        lambda b: b.compute("C", {"i": Var("Q")}, lambda i: 1.0),
        "Q in the shape of C is neither",
    ),
    "bound by an inner axis": (
        lambda b: b.compute(
            "C", {"i": (0, Var("j")), "j": 4}, lambda i, j: 1.0, into=b.temporary("T", (4, 4))
        ),
        "j in the range of i of C is neither a size nor an axis further outside",
    ),
    "tensor of another builder": (
        lambda b: b.compute("C", {"i": 4}, lambda i: FunctionBuilder("g").input("Z", (4,))[i]),
        "C reads Z, where nothing is stored before\n  why: it is of another function",
    ),
    "read before it is computed": (later, "C reads T, where nothing is stored before"),
    "never computed": (lambda b: b.temporary("T", (4,)), "nothing is stored to the output T"),
    "output of another builder": (
        lambda b: FunctionBuilder("g").temporary("T", (4,)),
        "T cannot be an output of f",
    ),
    "no output": (lambda b: None, "None cannot be an output of f"),
}


@pytest.mark.parametrize("what", UNFINISHED)
def test_refused_where_it_is_built(what: str) -> None:
    make, message = UNFINISHED[what]
    builder = FunctionBuilder("f")
    output = make(builder)
    with pytest.raises(InvalidProgram, match=message):
        builder.build([output])


def test_a_tensor_is_an_output_once() -> None:
    b = FunctionBuilder("f")
    c = one(b, {"i": 4})
    with pytest.raises(InvalidProgram, match="C cannot be an output"):
        b.build([c, c])


def test_names_of_any_letters_become_plain_ones() -> None:
    b = FunctionBuilder("größe")
    c = b.compute("Ç/0", {"i": 4}, lambda i: b.input("Ä x", (4,))[i] * 2.0)
    result = compile_function(b.build([c]), threads=1)(np.ones(4, np.float32))
    np.testing.assert_array_equal(result, [2.0] * 4)


def test_names_of_functions_are_texts() -> None:
    with pytest.raises(InvalidProgram, match="None cannot name a function"):
        FunctionBuilder(None)  # type: ignore[arg-type]


def test_only_functions_and_schedules_are_compiled() -> None:
    with pytest.raises(UsageError, match="a FunctionBuilder cannot be compiled"):
        compile_function(FunctionBuilder("f"))  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    assert as_expr(np.int64(4)) == Const(4, INDEX)  # type: ignore[arg-type]
    assert as_expr(np.float32(0.5)) == Const(0.5, F32)  # type: ignore[arg-type]
    assert as_expr(np.bool_(True)) == Const(True, BOOL)  # type: ignore[arg-type]
    with pytest.raises(InvalidProgram, match="a complex stands where"):
        as_expr(1j)  # type: ignore[arg-type]
