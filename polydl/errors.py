"""Every error polydl raises on purpose.

An error says *what* went wrong, *where* (node, loop, file), *why*, and the *next* command to try. `exit_code` is the
code with which the command line ends: 1 error, 2 usage, 3 unsupported model, 4 verification failed, 5 timeout.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CompileTimeout",
    "IllegalSchedule",
    "InvalidInput",
    "InvalidModel",
    "InvalidPackage",
    "InvalidProgram",
    "NotApplicable",
    "OutOfBounds",
    "PolydlError",
    "PolyhedralBlowup",
    "ResourceLimit",
    "RunError",
    "ToolchainError",
    "UnknownTarget",
    "UnsupportedOperator",
    "UsageError",
    "VerificationFailed",
]


class PolydlError(Exception):
    """Base of all errors: `what` happened, `where`, `why`, and what to do `next`."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", next: str = "") -> None:
        self.what, self.where, self.why, self.next = what, where, why, next
        lines = [what]
        for label, text in (("where", where), ("why", why), ("next", next)):
            if text:  # a text of several lines begins with an empty one
                lines.append(f"  {label}:{'' if text.startswith(chr(10)) else ' '}{text}")
        super().__init__("\n".join(lines))


class UsageError(PolydlError):
    """The request itself makes no sense (unknown option value, unknown loop name)."""

    exit_code = 2


class UnknownTarget(UsageError):
    """No such target or target feature."""


class InvalidModel(PolydlError):
    """The model file is not a valid ONNX model, or lies about itself."""


class UnsupportedOperator(PolydlError):
    """The model is valid but uses operators (listed all at once) that polydl does not compile."""

    exit_code = 3


class ResourceLimit(PolydlError):
    """A model asks for more than the configured limits; found before anything is allocated."""


class InvalidProgram(PolydlError):
    """A DSL program, a loop IR or a schedule tree that breaks its own contract."""


class OutOfBounds(InvalidProgram):
    """An affine access leaves its tensor; carries a counter-example."""


class NotApplicable(PolydlError):
    """A transformation does not fit the tree it was applied to (structure, not legality)."""


class IllegalSchedule(PolydlError):
    """A transformation would break a dependence.

    `violation` is the judge's (`polydl.poly.Violation`: dependence, two instances, cell, loop). `repair` are the
    transformations that can be applied instead of the refused one, with which it is legal; () where none is known.
    """

    violation: Any = None
    repair: tuple[Any, ...] = ()


class PolyhedralBlowup(PolydlError):
    """isl's operation budget was exhausted; only the candidate at hand is lost."""


class ToolchainError(PolydlError):
    """A back end or an external tool rejected the code it was given."""


class CompileTimeout(PolydlError):
    """Compilation took longer than `--timeout`."""

    exit_code = 5


class InvalidInput(PolydlError):
    """An array given at run time has the wrong name, rank, shape or type."""


class InvalidPackage(PolydlError):
    """A package on disk is damaged, of another version, or for another machine."""


class RunError(PolydlError):
    """Compiled code reported an error at run time (a data-dependent index out of range)."""


class VerificationFailed(PolydlError):
    """The compiled result differs from the reference by more than the accuracy asked for."""

    exit_code = 4
