"""docs/from-tiramisu.md: every row has code that runs, or says that something is not there."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import polydl.scheduler
from polydl.compiler import compile_function
from polydl.dsl import Function, interpret
from polydl.jit import LoopProgram
from polydl.scheduler import Schedule, Transform

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from-tiramisu.md"
NAMES = '''"""The rows of the page as functions."""

from __future__ import annotations

import polydl
from polydl import poly
from polydl.codegen.c import compile_to_c
from polydl.codegen.lower import lower
from polydl.compiler import compile_function, program_of
from polydl.dsl import *
from polydl.dtypes import *
from polydl.ir import and_, call, cast, maximum, not_, or_, print_kernel, select
from polydl.scheduler import *
from polydl.scheduler import from_json, from_text, picture
from polydl.targets import native
from polydl.vocabulary import Memory
'''


def _rows() -> Iterator[tuple[str, str]]:
    """What it is called elsewhere, and what stands in polydl's column."""
    for line in PAGE.read_text().splitlines():
        cells = re.split(r"(?<!\\) \| ", line.strip().strip("|").strip() + " ")
        if line.startswith("|") and not line.startswith("|---") and cells[1].strip() != "polydl":
            yield cells[0].strip(), cells[1].strip().strip("|").strip()


ROWS = list(_rows())
CODE = [(name, cell.strip("`")) for name, cell in ROWS if cell.startswith("`")]


@lru_cache(maxsize=1)
def _module(folder: Path) -> ModuleType:
    """All rows as the functions of one module: each runs the page's program and then its own code."""
    text = PAGE.read_text()
    match = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert match is not None
    parts = [NAMES]
    for k, (_, code) in enumerate(CODE):
        *before, last = ast.parse(code).body
        lines = [*match[1].splitlines(), *map(ast.unparse, before)]
        shown = ast.unparse(last)
        lines.append(f"return ({shown}), {{'f': s, 'g': w, 'p': p}}" if isinstance(last, ast.Expr) else shown)
        parts.append(f"\n\ndef row_{k}():\n" + "\n".join(f"    {line}" for line in lines))
    path = folder / "rows.py"
    path.write_text("\n".join(parts) + "\n")
    spec = importlib.util.spec_from_file_location("rows", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return _module(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("k", range(len(CODE)), ids=[name for name, _ in CODE])
def test_row_runs(k: int, rows: ModuleType) -> None:
    row: Callable[[], tuple[Any, dict[str, Any]]] = getattr(rows, f"row_{k}")
    result, given = row()
    assert result is None or result is not given
    if isinstance(result, Function):
        result = Schedule.of(result)
    if not isinstance(result, Schedule):
        return
    plain = given.get(result.function.name, result).function
    rng = np.random.default_rng(k)
    arrays = {
        t.name: rng.standard_normal(t.extents).astype(t.dtype.numpy)
        if t.dtype.is_float
        else rng.integers(0, 8, t.extents).astype(t.dtype.numpy)
        for t in plain.tensors
        if t.role.value in ("input", "inout")
    }
    program = given.get(result.function.name)
    if isinstance(program, LoopProgram):
        updated = program.interpret(**arrays)
        program.scheduled(result)(**arrays)
        for name, want in updated.items():
            np.testing.assert_allclose(arrays[name], want, rtol=1e-9)
        return
    stored = [result.function.tensor(n).pack(a) for n, a in arrays.items()]
    got = compile_function(result, threads=1)(*stored)
    wanted = list(interpret(plain, arrays).values())
    for g, want in zip(got if isinstance(got, tuple) else [got], wanted, strict=True):
        np.testing.assert_allclose(g, want, rtol=1e-4, atol=1e-4)


def test_every_transformation_has_a_row() -> None:
    public = {n: getattr(polydl.scheduler, n) for n in polydl.scheduler.__all__}
    wanted = {
        n
        for n, v in public.items()
        if isinstance(v, type) and issubclass(v, Transform) and v is not Transform
    }
    used = {
        node.func.id
        for _, code in CODE
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert wanted
    assert wanted <= used


@pytest.mark.parametrize(("name", "cell"), ROWS, ids=[name for name, _ in ROWS])
def test_row_says_what_there_is(name: str, cell: str) -> None:
    assert name
    assert (cell.startswith("`") and cell.endswith("`")) or cell.startswith("not there: "), cell
