"""The rules of the watch: a versioned file (TOML) of what is an alert. Pure but for reading the file."""

import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from goodstrace.identifiers import Grade
from services.audit.watch.daily import DAY_MS
from services.audit.watch.values import Kind, Measure
from services.audit.watch.windows import pane_size
from services.runtime.access.networks import named_network
from services.runtime.errors import SettingsError

BUILT_IN: Final = Path(__file__).with_name("rules-2.toml")
MAX_RULES: Final = 100
MAX_PANES: Final = 200
"""Of one kind: what a subject's state may hold."""
_DAY_S: Final = 86_400
_SERIES_MEASURES: Final = frozenset({Measure.RUN})
_ANSWER_MEASURES: Final = frozenset({Measure.FAILED, Measure.WITHHELD})
_CALL_MEASURES: Final = frozenset(Measure) - _SERIES_MEASURES - _ANSWER_MEASURES
_MEASURES: Final[Mapping[Kind, frozenset[Measure]]] = {
    Kind.USER: _CALL_MEASURES - {Measure.USERS, Measure.USERS_REFUSED, Measure.FIRST_SEEN},
    Kind.NETWORK: _CALL_MEASURES - {Measure.NETWORKS},
    Kind.MERCHANT: _CALL_MEASURES - {Measure.NETWORKS},
    Kind.KEY: frozenset({Measure.LOOKS, Measure.USERS, Measure.NETWORKS}),
    Kind.LOT: frozenset({Measure.LOOKS, Measure.USERS}),
    Kind.SERIES: _SERIES_MEASURES,
    Kind.ANSWERS: _ANSWER_MEASURES,
}
_SHARED: Final = frozenset({Measure.REFUSED, Measure.SIGN_INS_REFUSED}) | _ANSWER_MEASURES
"""What may be compared with how many there were of all."""
_BY_USER: Final = (Kind.USER, Kind.SERIES)
_BLOCKABLE: Final = (*_BY_USER, Kind.NETWORK)
_MOST: Final[Mapping[Measure, int]] = {Measure.RUN: 512}

_Count = Annotated[int, Meta(ge=1, le=10**9)]
_Seconds = Annotated[int, Meta(ge=1, le=7 * _DAY_S)]
_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From when on it is an alert; fields as in rules-2.toml, which explains them."""

    id: _Name
    about: Kind
    measure: Measure
    size_s: _Seconds
    hop_s: _Seconds
    at_least: _Count
    says: Annotated[str, Meta(min_length=1, max_length=300)]
    severity: Severity = Severity.WARNING
    grade: Grade | None = None
    step: Annotated[int, Meta(ge=1, le=1000)] = 1
    times: Annotated[int, Meta(ge=0, le=10_000)] = 0
    before: Annotated[int, Meta(ge=0, le=100)] = 0
    share: Annotated[int, Meta(ge=0, le=100)] = 0
    block_s: Annotated[int, Meta(ge=0, le=30 * _DAY_S)] = 0

    @property
    def size_ms(self) -> int:
        """The window's size."""
        return self.size_s * 1000

    @property
    def hop_ms(self) -> int:
        """How far from one window's start to the next one's."""
        return self.hop_s * 1000

    @property
    def span_ms(self) -> int:
        """How far back panes are needed, from the end of a window."""
        return self.size_ms * (1 + self.before)

    @property
    def waits(self) -> bool:
        """Whether it judges a window only once it is complete: what it compares with may grow, so what it says could be wrong before."""
        return bool(self.before or self.share)


class Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of rules."""

    version: _Name
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=MAX_RULES)]
    grace_s: Annotated[int, Meta(ge=0, le=3600)] = 60
    statistics_s: Annotated[int, Meta(ge=60, le=3600)] = 300
    keep_days: Annotated[int, Meta(ge=1, le=366)] = 30
    exempt: tuple[str, ...] = ()

    def of(self, kind: Kind) -> tuple[Rule, ...]:
        """List the rules about one kind."""
        return tuple(rule for rule in self.rules if rule.about is kind)

    @property
    def grace_ms(self) -> int:
        """How late a record may be."""
        return self.grace_s * 1000

    @property
    def statistics_ms(self) -> int:
        """The size of the windows of the statistics."""
        return self.statistics_s * 1000


class Panes(msgspec.Struct, frozen=True):
    """How counts of a kind are cut up, and how long they are kept, in milliseconds."""

    pane_ms: int
    keep_ms: int


def panes_of(book: Book, kind: Kind) -> Panes:
    """Say how the counts of a kind are kept: so that each window of a rule, and of the statistics, is made of whole panes, each of one day."""
    rules = book.of(kind)
    lengths = [length for rule in rules for length in (rule.size_ms, rule.hop_ms)]
    is_counted = kind not in (Kind.LOT, Kind.SERIES)
    lengths += [book.statistics_ms] if is_counted or not rules else []
    longest = max([book.statistics_ms, *(rule.span_ms for rule in rules)])
    return Panes(pane_size([*lengths, DAY_MS]), longest + book.grace_ms)


def load(path: Path) -> Book:
    """Read a file of rules. Raises: SettingsError saying what is wrong."""
    try:
        book = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Book)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error
    problems = [*_problems(book)]
    if problems:
        raise SettingsError(f"{path}: {'; '.join(problems)}")
    return book


def _problems(book: Book) -> Iterable[str]:
    names = [rule.id for rule in book.rules]
    if len(set(names)) < len(names):
        yield "two rules have one id"
    for each in book.exempt:
        kind, _, name = each.partition(":")
        if kind in _BY_USER:
            yield f"exempt {each}: users are counted by another name each day"
        if kind == Kind.NETWORK and named_network(name) != name:
            yield f"exempt {each}: networks are called 203.0.113.0/24 or 2001:db8::/48, as alerts name them"
    for rule in book.rules:
        yield from (f"rule {rule.id}: {problem}" for problem in _wrong(rule))
    for kind in Kind:
        panes = panes_of(book, kind)
        if panes.keep_ms // panes.pane_ms > MAX_PANES:
            yield f"the rules about {kind} need over {MAX_PANES} panes: let sizes and hops have a larger common divisor"


def _wrong(rule: Rule) -> Iterable[str]:
    if rule.measure not in _MEASURES.get(rule.about, frozenset()):
        yield f"{rule.measure} cannot be counted by {rule.about}"
    if rule.size_s % rule.hop_s:
        yield "its size is no multiple of its hop"
    if bool(rule.times) != bool(rule.before):
        yield "times and before go together"
    if rule.before and rule.size_s != rule.hop_s:
        yield "windows that are compared must tumble: let hop_s be size_s"
    if rule.grade is not None and rule.about is not Kind.KEY:
        yield "only keys have a grade"
    if rule.share and rule.measure not in _SHARED:
        yield f"{rule.measure} has no share of anything"
    if rule.block_s and rule.about not in _BLOCKABLE:
        yield "only a user or a network can be blocked"
    if rule.about in _BY_USER and rule.block_s and rule.size_s + rule.block_s > _DAY_S:
        yield "a window and the block of a user after it may be a day together: services know a user's name of today and of yesterday"
    if rule.at_least > _MOST.get(rule.measure, rule.at_least):
        yield f"at_least may be {_MOST[rule.measure]} at the most"
