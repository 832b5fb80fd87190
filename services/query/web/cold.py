"""Whether goods were kept as cold as was asked for: what was measured of them and of the containers that carried them, their ingredients left out. Pure.

"No" needs a rule that said so when the event was sealed, or a limit that was stated for the goods; "yes" needs a limit. Else it is told what was
measured, and that nothing says how cold it had to be. A rule that went by what is registered of other goods in the event says nothing of these.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.facts import Facts, Severity, Verdict
from goodstrace.identifiers import Grade, class_of, grade
from goodstrace.temperatures import Range, celsius, registered_limits
from services.query.web.sensors import TEMPERATURE, Reading
from services.query.web.trace_view import ShownEvent
from services.query.web.verdicts import is_own

MOST_BREACHES: Final = 5
WARM: Final = "warm"
COLD: Final = "cold"
FLAGGED: Final = "flagged"
_PRODUCTS: Final = (Grade.ITEM, Grade.LOT, Grade.CLASS)
_RULES: Final = {"storage-too-warm": WARM, "storage-too-cold": COLD}


class Breach(msgspec.Struct, frozen=True):
    """Where it went wrong: `how` is WARM, COLD, or FLAGGED by a rule that does not tell which; `celsius` is None where nothing was read."""

    how: str
    place: str
    time_us: int
    offset: str
    celsius: float | None


class Kept(msgspec.Struct, frozen=True):
    """How cold goods were kept, in degrees Celsius: of `measured` readings; coldest and warmest mean nothing where that is 0.

    low, high: the limits stated for the goods, None where there is none. breaches: by time, the first 5.
    """

    measured: int
    coldest: float
    warmest: float
    low: float | None
    high: float | None
    breaches: tuple[Breach, ...]

    @property
    def is_limited(self) -> bool:
        """Whether it is stated how warm or how cold they may be."""
        return self.low is not None or self.high is not None


def kept(events: Sequence[ShownEvent], key: str, attributes: Mapping[str, str]) -> Kept:
    """Judge the events that certainly concern `key`, by time; `attributes` are what is registered of the goods."""
    own = [each for each in events if each.certain and key in each.concerns and each.facts]
    limits = _limits(own, key, attributes)
    degrees = [(low, high) for each in own for low, high in _degrees(each.readings)]
    breaches = [breach for each in own if (breach := _breach(each, key, limits)) is not None]
    return Kept(
        measured=len(degrees),
        coldest=min((low for low, _ in degrees), default=0.0),
        warmest=max((high for _, high in degrees), default=0.0),
        low=limits.low,
        high=limits.high,
        breaches=tuple(breaches[:MOST_BREACHES]),
    )


def _limits(own: Iterable[ShownEvent], key: str, attributes: Mapping[str, str]) -> Range:
    """Give the narrowest range that the goods' own events, or who registered them, state."""
    lows, highs = registered_limits(attributes)
    for each in own:
        if any(key in keys for _, keys in each.goods):
            lows += each.lows
            highs += each.highs
    return Range(max(lows, default=None), min(highs, default=None))


def _degrees(readings: Iterable[Reading]) -> Iterable[tuple[float, float]]:
    for each in readings:
        low, high = celsius(each.least, each.unit), celsius(each.greatest, each.unit)
        if each.kind == TEMPERATURE and low is not None and high is not None:
            yield round(low, 2), round(high, 2)


def _breach(event: ShownEvent, key: str, limits: Range) -> Breach | None:
    facts = event.facts
    if facts is None:
        return None
    degrees = list(_degrees(event.readings))
    warmest = max((high for _, high in degrees), default=None)
    coldest = min((low for low, _ in degrees), default=None)
    verdicts = [each for each in facts.verdicts if not _is_of_others(each, facts, key)]
    hows = {how for verdict in verdicts if (how := _how(verdict, event)) is not None}
    if warmest is not None and limits.high is not None and warmest > limits.high:
        hows.add(WARM)
    if coldest is not None and limits.low is not None and coldest < limits.low:
        hows.add(COLD)
    for how, value in ((WARM, warmest), (COLD, coldest), (FLAGGED, None)):
        if how in hows:
            return Breach(how, event.place, facts.time_us, facts.offset, value)
    return None


def _is_of_others(verdict: Verdict, facts: Facts, key: str) -> bool:
    """Say whether a verdict goes by what is registered of other goods in the same event: too cold for the milk says nothing of the peas."""
    if not verdict.registered or grade(key) not in _PRODUCTS:
        return False
    if grade(key) is Grade.CLASS:
        return key not in {class_of(each) or each for each in verdict.registered}
    return {key, class_of(key), facts.lot_of.get(key)}.isdisjoint(verdict.registered)


def _how(verdict: Verdict, event: ShownEvent) -> str | None:
    """Say what a verdict means for the cold: None where it is about something else, or only good to know."""
    if verdict.rule in _RULES:
        return _RULES[verdict.rule]
    is_judged = is_own(verdict) or verdict.rule == "sensor-alarm"
    is_grave = verdict.severity != Severity.INFO
    return FLAGGED if is_judged and is_grave and verdict.at in event.temperatures_at else None
