"""Expressions of the Common Expression Language (CEL), cut down to what gives the same answer on every machine. Pure.

No macro that walks through a list or map: the order of a map differs from run to run in the library, and so the cost of an
expression does not depend on the event. No clock, no time zone data, no text made of numbers.
Source: CEL language definition (github.com/google/cel-spec).
"""

import re
from typing import Final

import cel
import msgspec

from services.collector.errors import BookError

MAX_LENGTH: Final = 2000
FUNCTIONS: Final = ("contains", "double", "endsWith", "has", "int", "matches", "size", "startsWith")
"""What an expression may call, beside the operators."""
_STRING: Final = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_CALL: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*\(")
_OTHER_STRING: Final = re.compile(r"'''|\"\"\"|(?<![A-Za-z0-9_])[rRbB]{1,2}['\"]")
_LEFT_OVER: Final = re.compile(r"//|`|['\"]")


class NoAnswer(msgspec.Struct, frozen=True):
    """Why an expression has no answer for some values, as far as the library tells."""

    reason: str


class Expression:
    """One compiled expression; `names` are the variables that it reads."""

    def __init__(self, text: str) -> None:
        """Compile. Raises: BookError, saying what is wrong."""
        _check_text(text)
        try:
            self._program = cel.compile(text)
        except ValueError as error:
            raise BookError(_brief(error)) from error
        self.names = frozenset(self._program.variables())
        strange = sorted(
            name for name in self._program.functions() if name[0].isalpha() and name not in FUNCTIONS
        )
        if strange:
            raise BookError(f"calls {', '.join(strange)}; an expression may call {', '.join(FUNCTIONS)}")

    def holds(self, context: cel.Context) -> bool | NoAnswer:
        """Say whether the expression is true; NoAnswer where it has no value, or one that is neither true nor false."""
        try:
            answer = self._program.execute(context)
        except _FAILURES as error:
            return NoAnswer(_brief(error))
        if type(answer) is bool:
            return answer
        return NoAnswer(f"gives {answer!r:.100}, which is neither true nor false")


_FAILURES: Final = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What the library raises for an expression that CEL gives no value: a missing member, a type that does not fit, an overflow."""


def _check_text(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise BookError(f"is over {MAX_LENGTH} characters")
    plain = _STRING.sub(" ", text)
    if _OTHER_STRING.search(text) or _LEFT_OVER.search(plain):
        raise BookError(
            "strings are written 'so' or \"so\"; raw, byte and triple-quoted strings and comments are not read"
        )
    for name in _CALL.findall(plain):
        if name not in FUNCTIONS and name != "in":
            raise BookError(f"calls {name}; an expression may call {', '.join(FUNCTIONS)}")


def _brief(error: Exception) -> str:
    """Give the first line of an error of the library that says something."""
    text = str(error).removeprefix("Failed to parse expression ")
    lines = [line.strip() for line in text.splitlines() if "ERROR:" in line] or text.splitlines() or [""]
    return lines[0].partition("ERROR: ")[2] or lines[0]
