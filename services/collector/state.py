"""The state of goods: where a key is, with whom, in what, since when, how it stands. Pure.

It is read off the sightings that are kept of a key, so a correction that takes an event back brings up what stood before. Where all that was
kept of a field is taken back, the field is `unsure` and never wrong: a trace tells it. docs/goods.md says what the fields mean.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from goodstrace.tracing.events import grade
from services.collector.sightings import CONTAINED, CORRECTED, FLAG, KEPT, PERSISTENT, Kept, Sighting

ALERTS: Final = frozenset(
    (
        *(
            "damaged",
            "expired",
            "mismatch_class",
            "mismatch_instance",
            "mismatch_quantity",
            "needs_replacement",
        ),
        *("no_pedigree_match", "non_conformant", "recalled", "stolen"),
    )
)
"""Dispositions that are shown among the flags while they hold."""
_SIMPLE: Final = ("step", "place", "owner", "holder", "destination", "disposition", "lot", "emptied")

Said = Sequence[tuple[Sighting, str]]
"""What the sightings that count say of one field, in the order of rule 1."""


class _Field(msgspec.Struct):
    """What is known of one field: `live` counts, in the order of rule 1; what was `cut` is no newer than `oldest_us`.

    doubtful: an event may have been taken back or not.
    """

    cut: bool
    oldest_us: int
    doubtful: bool
    live: list[tuple[Sighting, str]]

    @property
    def is_unsure(self) -> bool:
        """Whether what was let go, or is doubtful, might decide."""
        return self.doubtful or (self.cut and (not self.live or self.live[-1][0].time_us == self.oldest_us))


def derived(key: str, kept: Kept) -> dict[str, Any]:
    """Give the state of a key: plain values, each field with the record that decided it. See docs/goods.md."""
    fields = _fields(kept)
    unsure = {
        name for name, field in fields.items() if field.is_unsure and name not in (*CONTAINED, CORRECTED)
    }
    told = {
        name: _newest_value(field.live, cut=field.cut)
        for name, field in sorted(fields.items())
        if field.live and name not in unsure
    }
    inside, is_whole = _inside(fields)
    lasting = {
        name.removeprefix(PERSISTENT): said for name, said in told.items() if name.startswith(PERSISTENT)
    }
    standing = {word: said for word, said in lasting.items() if said["value"] == "set"}
    flags = {name.removeprefix(FLAG) for name in told if name.startswith(FLAG)}
    now = {told["disposition"]["value"]} if "disposition" in told else set()
    return {
        "grade": str(grade(key)),
        **{name: told[name] for name in _SIMPLE if name in told},
        **({"inside": inside} if inside else {}),
        "persistent": standing,
        "flags": sorted(flags | (ALERTS & {*standing, *now})),
        "unsure": sorted(unsure if is_whole else {*unsure, "inside"}),
    }


def _fields(kept: Kept) -> dict[str, _Field]:
    """Sort what is kept by field; of a field that was cut only the newest count, since what is older may not be all."""
    by_field: dict[str, list[tuple[Sighting, str]]] = {}
    for each in kept.sightings:
        for name, value in each.says:
            by_field.setdefault(name, []).append((each, value))
    standing = _standing(kept)
    fields = {}
    for name, said in by_field.items():
        cut = name in kept.cut
        said.sort(key=lambda each: each[0].age)
        whole = said[-KEPT:] if cut else said
        live = [each for each in whole if standing.get(each[0].identity) is True]
        fields[name] = _Field(
            cut=cut,
            oldest_us=whole[0][0].time_us,
            doubtful=any(standing.get(each.identity) is None and not each.correction for each, _ in whole),
            live=sorted(live, key=lambda each: each[0].order),
        )
    return fields


def _standing(kept: Kept) -> dict[bytes, bool | None]:
    """Say of each event whether it stands (rule 3): True, False where it was taken back, None where that is in doubt.

    Where one ID has several contents, a correction means that of the same content. In doubt is what a correction of another
    content means where the event of its own content may have been let go.
    """
    corrections = [each for each in kept.sightings if each.correction]
    events = [each for each in kept.sightings if not each.correction]
    standing: dict[bytes, bool | None] = {each.identity: True for each in events}
    for correction in corrections:
        meant = [each for each in events if _means(correction, each)]
        same = [each for each in meant if each.content == correction.content]
        for each in same or meant:
            if same or not kept.cut:
                standing[each.identity] = False
            elif standing[each.identity]:
                standing[each.identity] = None
    return standing


def _means(correction: Sighting, event: Sighting) -> bool:
    return correction.name == event.name or (not event.has_id and correction.content == event.content)


def _newest_value(said: Said, *, cut: bool) -> dict[str, Any]:
    newest, value = said[-1]
    since, whole = newest, True
    for each, other in reversed(said):
        if other != value:
            break
        since = each
    else:
        whole = not cut
    found = {
        "value": value,
        "since_us": since.time_us,
        "time_us": newest.time_us,
        "record": newest.place[3],
    }
    return found if whole else {**found, "since_at_latest": True}


def _inside(fields: Mapping[str, _Field]) -> tuple[list[dict[str, Any]], bool]:
    """Give what a key is in now, and whether that is all.

    An ADD and an end of life settle everything before them. What was let go may matter where none of them is newer.
    """
    known = [fields[name] for name in CONTAINED if name in fields]
    if any(field.doubtful for field in known):
        return [], False
    moved = fields["moved"].live if "moved" in fields else []
    settled_us = max((each.time_us for each, text in moved if not text.startswith("DELETE ")), default=None)
    lost = [field for field in known if field.cut and (settled_us is None or settled_us <= field.oldest_us)]
    if "moved" in fields and fields["moved"] in lost:
        return [], False
    said = [each for field in known for each in field.live]
    return _open(sorted(said, key=lambda each: each[0].order)), not lost


def _open(said: Said) -> list[dict[str, Any]]:
    """Rule 4, of a key's own events. What empties or ends a parent is in the parent's own document."""
    open_: dict[str, dict[str, Any]] = {}
    for each, text in said:
        what, _, parent = text.partition(" ")
        if what == "END":
            open_.clear()
        elif what == "DELETE":
            open_.pop(parent, None)
        else:
            if what == "ADD":
                open_ = {name: known for name, known in open_.items() if name == parent}
            if parent not in open_:
                open_[parent] = {"value": parent, "since_us": each.time_us}
                open_[parent] |= {"start_unknown": True} if what == "OBSERVE" else {}
            open_[parent] |= {"time_us": each.time_us, "record": each.place[3]}
    return sorted(open_.values(), key=itemgetter("since_us", "value"))
