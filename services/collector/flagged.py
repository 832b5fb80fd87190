"""Which events something was noticed in. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from goodstrace.facts import GOODS_ROLES, Facts, Flag
from goodstrace.goods.sightings import Placed
from goodstrace.read_runs import is_read
from services.runtime.merchants.flagged import (
    MAX_DETAIL_CHARS,
    MAX_KEYS,
    MAX_NAMES,
    Finding,
    FlaggedEvent,
)

_NOT_TOLD: Final = frozenset({Flag.NORMALISED_VOCABULARY})  # a spelling, and nothing to look into


def flagged(events: Iterable[Placed]) -> Iterator[FlaggedEvent]:
    """Yield those of some events that are such."""
    for each in events:
        findings = _findings(each.facts)
        if findings:
            yield _event(each, findings)


def _findings(facts: Facts) -> tuple[Finding, ...]:
    flags = [Finding(each) for each in facts.flags if each not in _NOT_TOLD]
    verdicts = [
        Finding(each.rule, each.severity, each.detail[:MAX_DETAIL_CHARS], each.registered)
        for each in facts.verdicts
    ]
    return (*flags, *verdicts)[:MAX_NAMES]


def _event(event: Placed, findings: tuple[Finding, ...]) -> FlaggedEvent:
    facts = event.facts
    keys = dict.fromkeys(key for role in GOODS_ROLES for key in facts.keys.get(role, ()))
    return FlaggedEvent(
        id=event.record_id,
        merchant=event.merchant,
        record_ms=event.record_ms,
        time_us=facts.time_us,
        step=facts.step,
        findings=findings,
        keys=tuple(keys)[:MAX_KEYS],
        goods=len(keys),
        place=facts.business_location or facts.read_point,
        read=facts.repeats.number if facts.repeats else int(is_read(facts)),
    )
