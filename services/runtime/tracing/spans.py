"""Spans as the services make them. Until `start` has found a collector in the settings each of these calls returns at once.

A span opened by `span` is the one at hand for what runs within it, tasks among them (not threads: those are told by arguments).
Spans of what was done for many records at once are told when it is over, by `tell`.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Any, Final, Protocol

import msgspec

from services.runtime.settings import load
from services.runtime.tracing.attributes import Attribute, Attributes, Value
from services.runtime.tracing.context import TraceContext, read
from services.runtime.tracing.settings import TracingSettings


class Kind(Enum):
    """Which side of a call or message a span is."""

    INTERNAL = "internal"
    SERVER = "server"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(Protocol):
    """A span that is open."""

    @property
    def context(self) -> TraceContext | None:
        """What others are told, None where the span is not kept."""

    def say(self, name: Attribute, value: Value) -> None:
        """Say something more."""

    def rename(self, name: str) -> None:
        """Give it the name that could not be told before."""

    def fail(self, kind: str) -> None:
        """Say that it failed: `kind` is a category, a code or the name of an error's class, never an error's text."""


class Finished(msgspec.Struct, frozen=True):
    """A span that is over. Times are Unix nanoseconds; `parent` None: of a trace of its own; `failed`: see Span.fail."""

    name: str
    began_ns: int
    ended_ns: int
    kind: Kind = Kind.INTERNAL
    parent: TraceContext | None = None
    links: Sequence[TraceContext] = ()
    attributes: Attributes = {}
    failed: str = ""


class Tracing(Protocol):
    """Where spans are made; each method as the function of its name below."""

    @property
    def is_on(self) -> bool:
        """Whether there are spans at all."""

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        parent: TraceContext | None,
        links: Sequence[TraceContext],
    ) -> AbstractContextManager[Span]:
        """See span."""

    def apart(self) -> AbstractContextManager[None]:
        """See apart."""

    def is_within(self) -> bool:
        """Whether what is opened now is below the span at hand."""

    def current(self) -> TraceContext | None:
        """See current."""

    def kept(self, contexts: Sequence[TraceContext]) -> list[TraceContext]:
        """See kept."""

    def tell(self, finished: Finished) -> TraceContext | None:
        """See tell."""

    def stop(self, timeout_s: float) -> None:
        """See started."""


class _Nothing:
    """A span of which nothing is kept, and the block in which it is open."""

    context = None

    def say(self, name: Attribute, value: Value) -> None:
        """Say nothing."""

    def rename(self, name: str) -> None:
        """Have no name."""

    def fail(self, kind: str) -> None:
        """Fail unseen."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class _Apart:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


NOTHING: Final = _Nothing()
_APART: Final = _Apart()
STOP_S: Final = 3.0
MAX_LINKS: Final = 128
"""Of so many traces, at the most, a batch tells; OpenTelemetry keeps no more links of a span."""


class Off:
    """No traces."""

    is_on = False

    def span(self, *_: Any) -> AbstractContextManager[Span]:
        """Open nothing."""
        return NOTHING

    def apart(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return _APART

    def is_within(self) -> bool:
        """There is none at hand."""
        return False

    def current(self) -> None:
        """There is none."""

    def kept(self, _: Sequence[TraceContext]) -> list[TraceContext]:
        """None is."""
        return []

    def tell(self, _: Finished) -> None:
        """Tell nobody."""

    def stop(self, _: float) -> None:
        """Nothing runs."""


class _Process(msgspec.Struct):
    tracing: Tracing
    trusts_parents: bool = False


_PROCESS: Final = _Process(Off())


@contextmanager
def started(service: str) -> Iterator[None]:
    """Make traces for a process, where its settings name a collector: `service` is its short name. What is waiting to be sent at the end gets three seconds.

    Exits with 2 where a setting is wrong.
    """
    settings = load(TracingSettings)
    if settings.is_on:
        from services.runtime.tracing.opentelemetry import exporting  # noqa: PLC0415 - it costs 40 MB and a second

        use(exporting(service, settings), trusts_parents=settings.parents == "trusted")
    else:
        use(Off(), trusts_parents=settings.parents == "trusted")
    try:
        yield
    finally:
        tracing = _PROCESS.tracing
        use(Off())
        tracing.stop(STOP_S)


def use(tracing: Tracing, *, trusts_parents: bool = False) -> None:
    """Have the process make its spans there: for `started`, and for tests."""
    _PROCESS.tracing, _PROCESS.trusts_parents = tracing, trusts_parents


def is_on() -> bool:
    """Whether there are spans at all: what costs something to say need not be found out else."""
    return _PROCESS.tracing.is_on


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    attributes: Attributes = {},  # noqa: B006 - never changed
    *,
    parent: TraceContext | None = None,
    links: Sequence[TraceContext] = (),
) -> AbstractContextManager[Span]:
    """Open a span: below `parent`, else below the one at hand, else of a trace of its own."""
    return _PROCESS.tracing.span(name, kind, attributes, parent, links)


def of_caller(
    name: str, kind: Kind, attributes: Attributes, traceparent: str
) -> AbstractContextManager[Span]:
    """Open a span for what was sent from outside with a `traceparent`, perhaps an empty or a bad one: below it where callers are trusted, else linked to it.

    Below the span at hand, where there is one that it is not apart from: that one has heeded the caller.
    """
    if not _PROCESS.tracing.is_on:
        return NOTHING
    outside = None if _PROCESS.tracing.is_within() else read(traceparent)
    if outside is None:
        return _PROCESS.tracing.span(name, kind, attributes, None, ())
    if _PROCESS.trusts_parents:
        return _PROCESS.tracing.span(name, kind, attributes, outside, ())
    return _PROCESS.tracing.span(name, kind, attributes, None, (outside,))


def handed_on(opened: Span, traceparent: str) -> str:
    """Give the `traceparent` for a record: that of the span, where it is kept; a trusted caller's where no spans are made here; else empty."""
    if opened.context is not None:
        return opened.context.header
    if _PROCESS.tracing.is_on or not _PROCESS.trusts_parents:
        return ""
    outside = read(traceparent)
    return outside.header if outside else ""


def apart() -> AbstractContextManager[None]:
    """Have each span that is opened directly within begin a trace of its own, linked to the one at hand: for streams, which go on for long."""
    return _PROCESS.tracing.apart()


def current() -> TraceContext | None:
    """Give the span at hand; None where there is none or it is not kept."""
    return _PROCESS.tracing.current()


def exemplar(context: TraceContext | None = None) -> dict[str, str] | None:
    """Give what a latency histogram notes beside a value: the trace that it is of, that of the span at hand where none is given."""
    found = context or _PROCESS.tracing.current()
    return {"trace_id": found.trace_id, "span_id": found.span_id} if found else None


def kept(contexts: Sequence[TraceContext]) -> list[TraceContext]:
    """Give those below which spans are kept."""
    return _PROCESS.tracing.kept(contexts)


def tell(finished: Finished) -> TraceContext | None:
    """Tell a span that is over, below a parent or about contexts that are `kept`; gives its own context, None where it is not kept."""
    return _PROCESS.tracing.tell(finished)
