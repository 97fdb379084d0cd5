"""What a module imports and which forbidden constructs it contains, found by the standard library's `ast` alone."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "polydl"

# The shared vocabulary: importable by every package, importing nothing of ours but itself.
SHARED: Final = frozenset({"errors", "config", "dtypes", "vocabulary", "artifact", "spinwait", "_version"})

# package -> packages of ours that it may import (docs/architecture.md prints the same table).
MAY_IMPORT: Final = {
    "poly": frozenset[str](),
    "ir": frozenset[str](),
    "targets": frozenset[str](),
    "certificate": frozenset[str](),
    "dsl": frozenset({"poly", "ir"}),
    "scheduler": frozenset({"dsl", "poly", "ir", "targets", "certificate"}),
    "codegen": frozenset({"scheduler", "dsl", "poly", "ir", "targets"}),
    "runtime": frozenset[str](),
    "autosched": frozenset({"scheduler", "codegen", "runtime", "targets"}),
    "ops": frozenset({"dsl", "ir"}),
    "graph": frozenset({"ops", "dsl", "ir"}),
}
TOP: Final = frozenset(
    {"compiler", "jit", "peak", "cli", "onnx_backend", "__init__", "__main__"}
)  # these may import everything

# third-party package -> the only places that may import it (dotted prefixes below `polydl`)
ONLY_IN: Final = {
    "islpy": ("poly",),
    "llvmlite": ("codegen.llvm", "runtime"),
    "onnx": ("graph", "ops", "cli", "compiler", "onnx_backend"),
    "typer": ("cli",),
    "rich": ("cli",),
    "onnxruntime": ("cli",),
    "openvino": ("cli",),
    "torch": ("cli",),
}

BANNED_MODULES: Final = frozenset({"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"})
BANNED_NAMES: Final = frozenset({"eval", "exec", "__import__"})
BANNED_OS: Final = frozenset({"system", "popen"})


def modules() -> dict[str, Path]:
    """Every module of the package: dotted name below `polydl` (a package's facade is named after it) -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        found[".".join(parts)] = path
    return found


def imported(source: str) -> list[tuple[int, str]]:
    """(line, full dotted name) of every import at any depth, imports for type checking included."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [(node.lineno, alias.name) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=0) if module is not None:
                found += [(node.lineno, f"{module}.{alias.name}") for alias in names]
            case ast.ImportFrom(level=level) if level > 0:
                found.append((node.lineno, "." * level))
            case _:
                pass
    return found


def violations(module: str, source: str) -> list[str]:
    """Sentences about each import of `module` (dotted, below `polydl`) that the table forbids."""
    room = module.split(".", maxsplit=1)[0]
    out = []
    for line, name in imported(source):
        first, _, rest = name.partition(".")
        if name.startswith("."):
            out.append(f"{module}:{line} uses a relative import")
        elif first == "polydl":
            other = rest.split(".")[0]
            if not _allowed(room, other):
                out.append(f"{module}:{line} ({room}) may not import polydl.{other}")
        elif first in ONLY_IN and not any(f"{module}.".startswith(f"{place}.") for place in ONLY_IN[first]):
            places = ", ".join(f"polydl.{place}" for place in ONLY_IN[first])
            out.append(f"{module}:{line} imports {first}, which only {places} may")
    return out


def _allowed(room: str, other: str) -> bool:
    if other in SHARED or room == other or room in TOP:
        return True
    return other in MAY_IMPORT.get(room, frozenset())


def dangers(module: str, source: str) -> list[str]:
    """Sentences about each construct that runs or loads what it should not: pickle, eval, exec, shells."""
    out = [
        f"{module}:{line} imports {name}"
        for line, name in imported(source)
        if name.split(".")[0] in BANNED_MODULES
    ]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in BANNED_NAMES:
                out.append(f"{module}:{node.lineno} calls {name}()")
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in BANNED_OS:
                out.append(f"{module}:{node.lineno} calls os.{name}()")
            case _:
                pass
        for keyword in node.keywords:
            true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            if keyword.arg in ("shell", "allow_pickle") and (
                true or not isinstance(keyword.value, ast.Constant)
            ):
                out.append(f"{module}:{node.lineno} passes {keyword.arg}= something that may be true")
    return out
