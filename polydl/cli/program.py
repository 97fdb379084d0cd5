"""`FILE.py:NAME` on the command line: plain loops, a function or a schedule that a Python file holds."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from polydl.cli.source import Order, check_exists
from polydl.errors import PolydlError, UsageError
from polydl.targets import Target

if TYPE_CHECKING:
    from polydl.scheduler import Schedule

__all__ = ["ProgramPath"]


@dataclass(frozen=True, slots=True)
class ProgramPath:
    """`FILE.py:NAME`; without a name the only program of the file."""

    file: Path
    name: str | None

    @classmethod
    def of(cls, path: Path) -> ProgramPath | None:
        """None for what is no Python file."""
        head, colon, name = str(path).rpartition(":")
        if colon and head.endswith(".py"):
            return cls(Path(head), name)
        return cls(path, None) if path.suffix == ".py" else None

    def schedule(self, order: Order, target: Target) -> Schedule:
        """The schedule of the program for `target`. The file is imported, which runs what stands outside functions.

        compiled: the one that a call runs, or the schedule itself where the name is one. UsageError where the file
        cannot be imported or has no such program.
        """
        from polydl.dsl import Function
        from polydl.jit import LoopProgram
        from polydl.scheduler import Schedule, default_schedule
        from polydl.scheduler.automatic import optimize
        from polydl.scheduler.recipes import schedule_as_written

        found = self._program(_imported(self.file))
        match found:
            case Schedule():
                made, reassociate = found, found.reassociate
            case LoopProgram():
                made, reassociate = found.schedule(), found.reassociate
            case Function():
                made, reassociate = Schedule.of(found), True
            case _:
                raise UsageError(
                    f"'{self.name}' in {self.file} is of type {type(found).__name__}", next=_WANTED
                )
        match order:
            case Order.WRITTEN:
                return Schedule.of(made.function, reassociate=reassociate)
            case Order.OPTIMIZED:
                return optimize(made.function, target, reassociate=reassociate)
            case Order.COMPILED if isinstance(found, Schedule):
                return found
            case Order.COMPILED if isinstance(found, LoopProgram):
                make = optimize if found.optimize else schedule_as_written
                return make(found.function, target, reassociate=reassociate)
            case Order.COMPILED:
                return default_schedule(made.function, target)

    def _program(self, module: ModuleType) -> Any:
        """What the name names; plain functions are captured."""
        from polydl.dsl import Function
        from polydl.jit import LoopProgram, loops
        from polydl.scheduler import Schedule

        programs = [n for n, v in vars(module).items() if isinstance(v, LoopProgram | Function | Schedule)]
        name = self.name
        if name is None and len(programs) == 1:
            name = programs[0]
        if name is None or not hasattr(module, name):
            raise UsageError(
                f"there is no '{name}' in {self.file}" if name else f"{self.file} does not say which program",
                why="" if programs else "it holds no program that is made when it is imported",
                next=f"{self.file}:NAME with one of {', '.join(programs)}" if programs else _WANTED,
            )
        found = getattr(module, name)
        return loops(found) if isinstance(found, FunctionType) else found


_WANTED = "name a function of plain loops (@polydl.loops), a Function or a Schedule"


def _imported(file: Path) -> ModuleType:
    """The module; what it prints goes to stderr, and the folders of the file and of the user are searched first."""
    check_exists(file)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{file}' is no Python file", next="FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.path[:0] = [str(file.parent.absolute()), str(Path.cwd())]
    sys.modules[spec.name] = module  # where dataclasses and annotations look their module up
    try:
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except PolydlError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"'{file}' cannot be imported", why=f"{type(error).__name__}: {error}", next=f"run python {file}"
        ) from error
    finally:
        sys.path[:] = before
    return module
