"""Which events something was noticed in, out of records of `goods.stored`. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from goodstrace import facts as facts_format
from goodstrace.entry import Kind
from goodstrace.facts import GOODS_ROLES, Facts, Flag
from goodstrace.read_runs import is_read
from services.collector.flow import FACTS_PART
from services.runtime.envelope import Record
from services.runtime.merchants.flagged import (
    MAX_DETAIL_CHARS,
    MAX_KEYS,
    MAX_NAMES,
    Finding,
    FlaggedEvent,
)

_NOT_TOLD: Final = frozenset({Flag.NORMALISED_VOCABULARY})  # a spelling, and nothing to look into


def flagged(stored: Iterable[Record]) -> Iterator[FlaggedEvent]:
    """Yield those of some records that are such. Raises: EntryError where an event has no facts."""
    for record in stored:
        if record.kind is Kind.EVENT:
            facts = facts_format.decode(record.part(FACTS_PART).content)
            findings = _findings(facts)
            if findings:
                yield _event(record, facts, findings)


def _findings(facts: Facts) -> tuple[Finding, ...]:
    flags = [Finding(each) for each in facts.flags if each not in _NOT_TOLD]
    verdicts = [
        Finding(each.rule, each.severity, each.detail[:MAX_DETAIL_CHARS], each.registered)
        for each in facts.verdicts
    ]
    return (*flags, *verdicts)[:MAX_NAMES]


def _event(record: Record, facts: Facts, findings: tuple[Finding, ...]) -> FlaggedEvent:
    keys = dict.fromkeys(key for role in GOODS_ROLES for key in facts.keys.get(role, ()))
    return FlaggedEvent(
        id=record.id.hex(),
        merchant=record.merchant,
        record_ms=record.time_ms,
        time_us=facts.time_us,
        step=facts.step,
        findings=findings,
        keys=tuple(keys)[:MAX_KEYS],
        goods=len(keys),
        place=facts.business_location or facts.read_point,
        read=facts.repeats.number if facts.repeats else int(is_read(facts)),
    )
