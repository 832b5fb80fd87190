"""Which events of a key stand: rule 3 of docs/tracing.md, on what is kept of it. Pure.

A correction takes back events of its own merchant, and those of a merchant that let it speak for their goods. That follows from the
registrations of that merchant, which are no events of the key: they are given beside what is kept, as `Givers`. `asked` names whose
are needed. What they say is decided by `goodstrace.registration`, as it is for a trace.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.goods.sightings import UNKNOWN, Declared, Kept, Sighting, digest
from goodstrace.registration import Registration, lends, merchant_key, speaks_for


class Given(msgspec.Struct, frozen=True):
    """A sealed registration of a merchant. record_ms: record time, Unix milliseconds. record: its record ID, hex."""

    record_ms: int
    record: str
    registration: Registration


class Givers:
    """Registrations of merchants: which one counted when, and for whom it lets others speak."""

    def __init__(self, given: Iterable[Given]) -> None:
        """Take registrations in any order; the same one may come again."""
        self._of: dict[str, dict[str, Given]] = {}
        for each in given:
            self._of.setdefault(each.registration.key, {})[each.record] = each

    def newest(self, merchant: int, until_ms: int) -> Given | None:
        """Give the registration of a merchant that counted then: the newest recorded up to `until_ms`."""
        known = self._of.get(merchant_key(merchant), {}).values()
        there = [each for each in known if each.record_ms <= until_ms]
        return max(there, key=lambda each: (each.record_ms, each.record), default=None)

    def speaks(self, correction: Sighting, event: Sighting) -> bool | None:
        """Tell whether a correction that means another merchant's event counts for it; None where that is in doubt.

        Its goods are known where it repeats the event, and has not too many of them.
        """
        at_ms = correction.place[0]
        giver = self.newest(event.merchant, at_ms)
        if giver is None or correction.declared is None:
            return False
        if correction.declared.goods and _repeats(correction.declared, event):
            return speaks_for(giver.registration, correction.merchant, correction.declared.goods, at_ms)
        return None if lends(giver.registration, correction.merchant, at_ms) else False


NOBODY: Final = Givers(())


def has_corrections(kept: Kept) -> bool:
    """Tell whether any correction is kept: of most goods none is."""
    return any(each.correction for each in kept.sightings)


def standing(kept: Kept, givers: Givers) -> dict[bytes, bool | None]:
    """Say of each event that is kept whether it stands: True, False where it was taken back, None where that is in doubt.

    Where one ID has several contents, a correction means that of the same content. In doubt is what a correction of another
    content means where the event of its own content may have been let go.
    """
    found: dict[bytes, bool | None] = {each.identity: True for each in kept.sightings if not each.correction}
    for correction, own, others in _meant(kept):
        has_same = any(each.content == correction.content and each.name == correction.name for each in own)
        for each in own:
            if each.content == correction.content:
                _take_back(found, each, is_sure=True)
            elif not has_same:
                _take_back(found, each, is_sure=not kept.cut)
        for each, is_sure in _spoken_for(correction, others, givers, is_cut=bool(kept.cut)):
            _take_back(found, each, is_sure=is_sure)
    return found


def asked(kept: Kept) -> dict[int, int]:
    """Name the merchants whose registrations say what stands, each with the record time up to which they matter, Unix milliseconds."""
    found: dict[int, int] = {}
    if not has_corrections(kept):
        return found
    for correction, _, others in _meant(kept):
        for each in others:
            found[each.merchant] = max(found.get(each.merchant, 0), correction.place[0])
    return found


def deciding(kept: Iterable[Kept], givers: Givers) -> list[Given]:
    """Give the registrations that say what stands of what is kept of some keys, by record ID."""
    found: dict[str, Given] = {}
    for each in kept:
        for correction, _, others in _meant(each):
            for event in others:
                given = givers.newest(event.merchant, correction.place[0])
                if given is not None:
                    found[given.record] = given
    return [found[record] for record in sorted(found)]


def _meant(kept: Kept) -> Iterator[tuple[Sighting, Sequence[Sighting], Sequence[Sighting]]]:
    """Yield each correction with the events of its merchant that it means, and with those of others.

    Of others those only beside which its merchant has none of its own: under the same ID, or with the same content where there is no ID.
    """
    corrections = [each for each in kept.sightings if each.correction]
    events = [each for each in kept.sightings if not each.correction] if corrections else []
    for correction in corrections:
        own = [each for each in events if _means(correction, each)]
        declared = correction.declared
        is_named = any(each.name == correction.name for each in own)
        is_repeated = any(each.content == correction.content for each in own)
        others = [each for each in events if _means_other(declared, each)] if declared else []
        yield (
            correction,
            own,
            [
                each
                for each in others
                if each.merchant != correction.merchant and not (is_named if each.has_id else is_repeated)
            ],
        )


def _means(correction: Sighting, event: Sighting) -> bool:
    return correction.name == event.name or (not event.has_id and correction.content == event.content)


def _means_other(declared: Declared, event: Sighting) -> bool:
    if event.merchant == UNKNOWN:
        return False
    is_named = event.name == digest(event.merchant, declared.event_id)
    return is_named or (not event.has_id and _repeats(declared, event))


def _repeats(declared: Declared, event: Sighting) -> bool:
    return event.content == digest(event.merchant, declared.event_hash)


def _spoken_for(
    correction: Sighting, others: Sequence[Sighting], givers: Givers, *, is_cut: bool
) -> Iterator[tuple[Sighting, bool]]:
    """Yield the events of other merchants that a correction takes back, and whether that is sure."""
    declared = correction.declared
    if declared is None or not others:
        return
    spoken: Mapping[bytes, bool | None] = {each.identity: givers.speaks(correction, each) for each in others}
    repeated = {each.identity for each in others if _repeats(declared, each)}
    has_rival = any(
        spoken[each.identity]
        for each in others
        if each.identity in repeated and each.name == digest(each.merchant, declared.event_id)
    )
    for each in others:
        counts = spoken[each.identity]
        if each.identity in repeated:
            if counts is not False:
                yield each, counts is True
        elif counts is not False and not has_rival:
            yield each, counts is True and not is_cut


def _take_back(found: dict[bytes, bool | None], event: Sighting, *, is_sure: bool) -> None:
    if is_sure:
        found[event.identity] = False
    elif found[event.identity]:
        found[event.identity] = None
