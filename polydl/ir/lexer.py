"""Splits the text of loop IR into logical lines of tokens."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from polydl.errors import InvalidProgram
from polydl.ir.printer import NAME, RESERVED

__all__ = ["TYPE", "Line", "Token", "tokenize"]

_DTYPE: Final = "f16|f32|f64|i8|i16|i32|i64|u8|u16|u32|u64|bool"
TYPE: Final = re.compile(rf"({_DTYPE})(?:x(\d+))?")
_TOKEN: Final = re.compile(
    rf"""(?P<space>[ \t]+|\#.*)
    |(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?P<suffix>{_DTYPE})?
    |(?P<name>{NAME.pattern})
    |`(?P<quoted>[^`\n]*)`
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<sign>\.\.|//|<<|>>|<=|>=|==|!=|[-+*/%<>&|^~=()\[\],:])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # number, name, word (a reserved name), quoted, string, sign
    text: str
    line: int
    suffix: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    indent: int
    tokens: tuple[Token, ...]


def tokenize(text: str) -> list[Line]:
    """Logical lines: comments and empty lines dropped, lines joined inside brackets."""
    result: list[Line] = []
    tokens: list[Token] = []
    depth, indent = 0, 0
    for number, line in enumerate(text.split("\n"), 1):
        at = len(line) - len(line.lstrip(" "))
        if depth == 0:
            indent = at
        while at < len(line):
            match = _TOKEN.match(line, at)
            if match is None:
                raise InvalidProgram(
                    f"unexpected character {line[at]!r}", where=f"line {number}: {line.strip()}"
                )
            at = match.end()
            token = _token(match, number)
            if token is not None:
                depth += (token.kind == "sign") * ((token.text in "([") - (token.text in ")]"))
                tokens.append(token)
        if tokens and depth <= 0:
            result.append(Line(indent, tuple(tokens)))
            tokens, depth = [], 0
    if tokens:
        raise InvalidProgram("a bracket is never closed", where=f"line {tokens[0].line}")
    return result


def _token(match: re.Match[str], line: int) -> Token | None:
    kind = match.lastgroup
    if kind == "space":
        return None
    if kind in ("number", "suffix"):
        return Token("number", match["number"], line, match["suffix"])
    if kind == "quoted":
        return Token("quoted", json.loads(f'"{match["quoted"]}"'), line)
    if kind == "name" and match["name"] in RESERVED:
        return Token("word", match["name"], line)
    return Token(str(kind), match[str(kind)], line)
