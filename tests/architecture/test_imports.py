"""The import table and the forbidden constructs hold for every module; the checker itself can fail."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.imports import MAY_IMPORT, PACKAGE, SHARED, TOP, dangers, modules, violations

MODULES = modules()
LINE_LIMIT = 450


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_table(module: str) -> None:
    assert violations(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize("module", MODULES)
def test_no_pickle_eval_or_shell(module: str) -> None:
    assert dangers(module, MODULES[module].read_text()) == []


def test_every_room_is_in_the_table() -> None:
    rooms = {name.split(".")[0] for name in MODULES}
    assert rooms <= MAY_IMPORT.keys() | SHARED | TOP


def test_the_table_has_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {room for room, others in MAY_IMPORT.items() if room not in done and others <= done}
        assert ready, f"cycle among {sorted(MAY_IMPORT.keys() - done)}"
        done |= ready


def _packages() -> list[str]:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    return sorted(".".join(folder.relative_to(PACKAGE.parent).parts) for folder in folders)


@pytest.mark.parametrize("package", _packages())
def test_facade_lists_what_it_offers(package: str) -> None:
    facade = PACKAGE.parent.joinpath(*package.split("."), "__init__.py")
    assert facade.is_file(), f"{package} has modules but no __init__.py"
    module = importlib.import_module(package)
    assert isinstance(getattr(module, "__all__", None), list | tuple), f"{package} has no __all__"
    for name in module.__all__:
        assert hasattr(module, name), f"{package}.__all__ names {name}, which is not there"


def test_modules_say_one_thing() -> None:
    long = {name: n for name, path in MODULES.items() if (n := _lines(path)) > LINE_LIMIT}
    assert not long, f"modules over {LINE_LIMIT} lines, to be split: {long}"


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("polydl", ("islpy", "llvmlite", "onnx", "sympy", "typer", "numpy")),
        ("polydl.runtime", ("islpy", "onnx", "sympy", "typer", "rich", "polydl.poly", "polydl.codegen")),
        ("polydl.cli.app", ("islpy", "llvmlite", "onnx", "sympy", "polydl.compiler")),
    ],
)
def test_imports_stay_light(module: str, heavy: tuple[str, ...]) -> None:
    program = f"import sys, {module}\nprint(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ir.expr", "from polydl.poly import tree"),
        ("ir.expr", "from polydl import dsl"),
        ("runtime.module", "def f():\n    import polydl.codegen.llvm"),
        ("dsl.builder", "import islpy as isl"),
        ("codegen.c.emit", "from llvmlite import ir"),
        ("graph.passes", "from polydl.scheduler import Schedule"),
        ("errors", "from polydl.ir import expr"),
        ("ops.conv", "from . import table"),
        ("graph.passes", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import polydl.codegen"),
    ],
)
def test_the_checker_sees_forbidden_imports(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "exec(code)",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.run('ls', shell=flag)",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_the_checker_sees_dangers(source: str) -> None:
    assert len(dangers("x", source)) == 1


@pytest.mark.parametrize(
    "source", ["np.load(f, allow_pickle=False)", "re.compile('x')", "module.eval()", "run(x, shell=False)"]
)
def test_the_checker_lets_the_harmless_pass(source: str) -> None:
    assert dangers("x", source) == []


def test_the_documented_table_is_this_one() -> None:
    rows = {}
    for line in (PACKAGE.parent / "docs" / "architecture.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`"):
            for name in cells[0].replace("`", "").split():
                rows[name] = cells[2]
    documented = {name: frozenset(rows[name].replace("`", "").split()) for name in MAY_IMPORT}
    assert documented == MAY_IMPORT
    assert SHARED - {"_version"} <= rows.keys()
