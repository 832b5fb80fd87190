"""The answers that people look for first: where from, who had it, was it kept cold, is it recalled. Pure; from what the page shows."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.query.web.cold import Kept, kept
from services.query.web.face import Face
from services.query.web.registered import Thing
from services.query.web.trace_view import ShownEvent, ShownTrace

MOST_LISTED: Final = 12


class Summary(msgspec.Struct, frozen=True):
    """Short answers.

    countries: of origin, as stated by events, else of the places where it began. begins: the place where it begins, "" where none is told.
    holders: places that the goods passed, in order. cold: how cold they were kept. recalled: whether a notice says so.
    sealed: events on this page. of: events in all. logs: how many logs they are in. is_part: the trace has events that the answers are not from;
    whether it is recalled is known of all of it in any case.
    """

    countries: tuple[str, ...]
    begins: str
    holders: tuple[str, ...]
    cold: Kept
    recalled: bool
    sealed: int
    of: int
    logs: int
    is_part: bool


def summary(trace: ShownTrace, face: Face, things: Mapping[str, Thing]) -> Summary:
    """Sum up a trace."""
    ordered = sorted(trace.events, key=lambda each: each.time_us)
    stated = [each.origin for each in ordered if each.origin]
    first = next((each.place for each in ordered if each.place), "")
    fallback = [things[first].country] if first in things and things[first].country else []
    own = [each for each in ordered if each.certain and trace.answer.key in each.concerns]
    return Summary(
        countries=tuple(dict.fromkeys(stated or fallback)),
        begins=first,
        holders=_places(own or ordered),
        cold=kept(ordered, trace.answer.key, face.goods.attributes if face.goods else {}),
        recalled=face.is_recalled,
        sealed=len(trace.events),
        of=trace.answer.total_events,
        logs=len({each.log for each in trace.events}),
        is_part=bool(trace.answer.paged_out or trace.answer.truncated),
    )


def _places(events: list[ShownEvent]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.place for each in events if each.place))[:MOST_LISTED]
