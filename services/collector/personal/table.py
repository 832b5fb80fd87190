"""The table of personal fields: which members and values of an event are about a person. Pure.

A table is TOML; the one that comes with the program explains itself (fields-1.toml). It never changes once it was in use.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from services.collector.errors import BookError
from services.collector.steps import named

BUILT_IN: Final = "1"
PLACES: Final = ("bizTransaction", "source", "destination", "readPoint", "bizLocation")
_LARGEST: Final = 256 * 1024
_DROPPED: Final = str.maketrans("", "", "-_.")
_SEPARATOR: Final = re.compile(r"[:#/]")
_WORD: Final = re.compile(r"[^\W_]++")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})|&#x([0-9a-fA-F]{1,4});|&#([0-9]{1,5});")  # JSON, XML

_Name = Annotated[str, Meta(min_length=1, max_length=100)]
_Names = Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=1000)]
_Patterns = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=500)], ...], Meta(min_length=1, max_length=100)
]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table's part: a field that nobody knows is a fault."""


class Members(_Strict, frozen=True):
    """Names of members that go whatever they hold."""

    names: _Names
    about: str = ""


class Texts(_Strict, frozen=True):
    """Names of members that go where one of the patterns is found in their text.

    needs: characters of which every text has one in which a pattern is found; empty where nothing is known of that. Texts without are
    not searched, and most have none.
    """

    names: _Names
    patterns: _Patterns
    about: str = ""
    needs: Annotated[str, Meta(max_length=100)] = ""


class Values(_Strict, frozen=True):
    """Patterns of whole values.

    places: members of EPCIS, of PLACES, in which they count; empty for everywhere. business_steps, dispositions: bare words of CBV;
    where there are any, an event counts that has one of the steps or one of the dispositions.
    """

    patterns: _Patterns
    about: str = ""
    places: tuple[str, ...] = ()
    business_steps: tuple[str, ...] = ()
    dispositions: tuple[str, ...] = ()

    def counts(self, business_step: str, disposition: str) -> bool:
        """Say whether these patterns are held against an event with this step and disposition, in bare words."""
        if not self.business_steps and not self.dispositions:
            return True
        return business_step in self.business_steps or disposition in self.dispositions


class Wording(msgspec.Struct, frozen=True):
    """What is looked for in texts: a pattern, and characters that a text must have one of to be searched at all; empty: every text is."""

    pattern: re.Pattern[str]
    needs: str = ""

    def is_in(self, text: str) -> bool:
        """Say whether the pattern is found in a text."""
        if self.needs and not any(each in text for each in self.needs):
            return False
        return self.pattern.search(text) is not None


class Written(_Strict, frozen=True):
    """A table as its file says it."""

    version: str
    members: tuple[Members, ...] = ()
    texts: tuple[Texts, ...] = ()
    values: tuple[Values, ...] = ()


class Table:
    """One or several tables in use.

    Attributes:
        name: what it is called by what was taken out by it: the versions, an operator's with the digest of its file.
        members: folded names of members that go.
        texts: what is looked for by the folded name of the members in whose text it is.
        anywhere: patterns of values that count everywhere, as one; None where there are none.
        placed: other patterns of values, with where and when they count.
    """

    def __init__(self, name: str, *tables: Written) -> None:
        """Join tables. Raises: BookError where a pattern is no regular expression or a place is none."""
        self.name = name
        self.members = frozenset(
            each for table in tables for part in table.members for name in part.names for each in _spelt(name)
        )
        self.texts = _texts(part for table in tables for part in table.texts)
        values = [part for table in tables for part in table.values]
        wrong = {place for part in values for place in part.places}.difference(PLACES)
        if wrong:
            raise BookError(f"places must be among {', '.join(PLACES)}, not {', '.join(sorted(wrong))}")
        everywhere = [
            part for part in values if not (part.places or part.business_steps or part.dispositions)
        ]
        self.anywhere = _joined([pattern for part in everywhere for pattern in part.patterns])
        self.placed = tuple(
            (part, compiled)
            for part in values
            if part not in everywhere and (compiled := _joined(part.patterns))
        )
        self._written = self.members.union(self.texts)

    def may_name(self, content: bytes) -> bool:
        """Say whether bytes that cannot be read hold one of the names, in whatever spelling: then nobody shall keep them."""
        text = content.replace(b"\0", b"").decode("utf-8", "replace")  # of UTF-16 what is ASCII is left
        text = _ESCAPED.sub(_unescaped, text).translate(_DROPPED).casefold()
        return any(word[0] in self._written for word in _WORD.finditer(text))


@lru_cache(maxsize=16_384)
def folded(name: str) -> str:
    """Give a member's name as names are compared: without namespace, hyphens, underscores, dots and case."""
    return _SEPARATOR.split(name)[-1].translate(_DROPPED).casefold()


def _unescaped(found: re.Match[str]) -> str:
    """Give the character that an escape of JSON or XML stands for."""
    of_json, of_xml, decimal = found.groups()
    return chr(int(decimal) if decimal else int(of_json or of_xml, 16))


def _spelt(name: str) -> tuple[str, ...]:
    """Give a name as it is compared, and as a list of such things is called."""
    known = folded(name)
    return known, f"{known}s", f"{known}es", f"{known}list"


@cache
def built_in() -> Table:
    """Give the table that comes with the program."""
    return Table(BUILT_IN, _built_in())


def with_operators(content: bytes) -> Table:
    """Give the program's table with an operator's, from the bytes of its file. Raises: BookError."""
    own = _read(content)
    return Table(f"{BUILT_IN} {named(own.version, content)}", _built_in(), own)


@cache
def _built_in() -> Written:
    file = resources.files("services.collector.personal").joinpath(f"fields-{BUILT_IN}.toml")
    return _read(file.read_bytes())


def _read(content: bytes) -> Written:
    if len(content) > _LARGEST:
        raise BookError(f"is over {_LARGEST} bytes")
    try:
        return msgspec.convert(tomllib.loads(content.decode()), Written)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BookError(f"is no table of personal fields: {error}") from error


def _texts(parts: Iterable[Texts]) -> dict[str, Wording]:
    gathered: dict[str, list[Texts]] = {}
    for part in parts:
        for name in part.names:
            for each in _spelt(name):
                gathered.setdefault(each, []).append(part)
    return {name: wording for name, of_name in gathered.items() if (wording := _wording(of_name))}


def _wording(parts: Sequence[Texts]) -> Wording | None:
    compiled = _joined([pattern for part in parts for pattern in part.patterns])
    needs = "".join(part.needs for part in parts) if all(part.needs for part in parts) else ""
    return Wording(compiled, "".join(dict.fromkeys(needs))) if compiled else None


def _joined(patterns: list[str] | tuple[str, ...]) -> re.Pattern[str] | None:
    """Make one expression of several. Raises: BookError naming the one that is none."""
    for each in patterns:
        try:
            re.compile(each)
        except re.error as error:
            raise BookError(f"{each!r} is no regular expression: {error}") from error
    flagged = [re.sub(r"^\(\?i\)(.*)", r"(?i:\1)", each, flags=re.DOTALL) for each in patterns]
    return re.compile("|".join(f"(?:{each})" for each in flagged), re.DOTALL) if flagged else None
