"""The comment above a generated function: which steps it serves, and the loops of its schedule."""

from __future__ import annotations

from collections.abc import Iterator

from polydl.ir.kernel import Alloc, Barrier, Binding, Buffer, For, Kernel, Stmt
from polydl.ir.printer import print_expr
from polydl.ir.rewrite import substatements

__all__ = ["remark", "summary"]

_MOST_LINES = 24
_MOST_STEPS = 4


def summary(kernel: Kernel, steps: tuple[str, ...]) -> list[str]:
    """Comment lines."""
    names = ", ".join(steps[:_MOST_STEPS])
    if len(steps) > _MOST_STEPS:
        names += f" and {len(steps) - _MOST_STEPS} more"
    nest = list(_nest(kernel.body, 0))
    if len(nest) > _MOST_LINES:
        nest = [*nest[:_MOST_LINES], f"and {len(nest) - _MOST_LINES} more"]
    return [
        f"/* {remark(kernel.name)}, for {remark(names)}. Loops:",
        *(f"     {remark(x)}" for x in nest),
        "*/",
    ]


def remark(text: str) -> str:
    """Text that is safe in a comment."""
    printable = "".join(c if " " <= c <= "~" and c not in "\\?" else "_" for c in text)
    return printable.replace("/*", "/ *").replace("*/", "* /")


def _nest(s: Stmt, depth: int) -> Iterator[str]:
    """The loops, local buffers and barriers, one a line, perfect nests of one binding joined."""
    indent = "  " * depth
    match s:
        case For():
            chain = [s]
            while isinstance(chain[-1].body, For) and chain[-1].body.binding == s.binding:
                chain.append(chain[-1].body)
            word = "for" if s.binding == Binding.SEQUENTIAL else s.binding.value
            yield f"{indent}{word} {', '.join(map(_range, chain))}"
            yield from _nest(chain[-1].body, depth + 1)
        case Alloc(buffer=buffer, body=body):
            yield f"{indent}{_buffer(buffer)}"
            yield from _nest(body, depth)
        case Barrier():
            yield f"{indent}barrier"
        case _:
            for inner in substatements(s):
                yield from _nest(inner, depth)


def _range(s: For) -> str:
    step = f" by {s.step}" if s.step != 1 else ""
    return f"{s.var} in {print_expr(s.lower)}..{print_expr(s.upper)}{step}"


def _buffer(b: Buffer) -> str:
    return f"{b.memory.value} {b.name}: {b.dtype}[{', '.join(map(print_expr, b.shape))}]"
