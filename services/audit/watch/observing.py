"""A record of `browse.watched` as observations: one for each user, network, merchant, key, lot and series of serials that it concerns. Pure.

It names nobody: a user is a pseudonym of that day.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from goodstrace.entry import ID_BYTES
from goodstrace.identifiers import Grade, grade
from goodstrace.record.v1.record_pb2 import WatchedBrowse
from services.audit.watch.sketches import hashed
from services.audit.watch.values import Kind, Seen
from services.runtime.access.naming import TOLD_TO_WORK
from services.runtime.errors import EnvelopeError

MAX_KEYS: Final = 256
"""Of one record: by further keys it is not counted, only by how many different ones its user looked at."""
SEPARATOR: Final = "\n"
"""Between the user and the series in the subject of a series: the last one, since no series has any."""
ANSWERS: Final = "all"
"""The subject of how answers ended: marks name looks, and nobody."""
_LOOK: Final = "look"
_SIGN_IN: Final = "sign-in"
_REFUSAL: Final = "refusal"
_ACCOUNT_CHANGE: Final = "account-change"
_MARKS: Final = "marks"
_KINDS: Final = (_LOOK, _SIGN_IN, _REFUSAL, _ACCOUNT_CHANGE, _MARKS)
_NUMBERED: Final = re.compile(r"(.*?)([0-9]{1,17})")
_SSCC: Final = re.compile(r"(https://id\.gs1\.org/00/)([0-9]{17})[0-9]")


def read(value: bytes) -> WatchedBrowse:
    """Read a record of `browse.watched`. Raises: EnvelopeError where it is none."""
    try:
        told = WatchedBrowse.FromString(value)
    except DecodeError as error:
        raise EnvelopeError("it is no message") from error
    if told.kind not in _KINDS:
        raise EnvelopeError("it is of no kind that is known")
    if told.kind != _MARKS and (len(told.record_id) != ID_BYTES or not told.pseudonym):
        raise EnvelopeError("it says of no record, or of nobody")
    return told


def observations(told: WatchedBrowse, offset: int) -> list[Seen]:
    """Give what a record says to the watch."""
    return list(_marks(told, offset) if told.kind == _MARKS else _seen(told, offset))


def serial(key: str) -> tuple[str, int] | None:
    """Take a serial apart into its series and its number in it; None where it has no number.

    The series is the key without the digits at its end, of a GTIN's serial or of an SSCC without its check digit.
    """
    container = _SSCC.fullmatch(key)
    if container:
        return container[1], int(container[2])
    if grade(key) is not Grade.ITEM:
        return None
    numbered = _NUMBERED.fullmatch(key)
    return (numbered[1], int(numbered[2])) if numbered else None


def _marks(told: WatchedBrowse, offset: int) -> Iterator[Seen]:
    """How answers ended is no look: it is counted for all of them together, with one that did not end well as evidence."""
    evidence = min((*told.failed, *told.withheld), default=b"")
    yield Seen(
        Kind.ANSWERS,
        ANSWERS,
        offset,
        told.time_ms,
        evidence,
        answered=len(told.answered),
        failed=len(told.failed),
        withheld=len(told.withheld),
    )


def _seen(told: WatchedBrowse, offset: int) -> Iterator[Seen]:
    times, is_refused = max(1, told.times), bool(told.refused)
    is_sign_in = told.kind == _SIGN_IN
    is_look = told.kind == _LOOK and not is_refused
    counts: Mapping[str, Any] = {
        "offset": offset,
        "time_ms": told.time_ms,
        "id": told.record_id,
        "looks": times if is_look else 0,
        "refused": times if is_refused and not is_sign_in else 0,
        "sign_ins": times if is_sign_in else 0,
        "sign_ins_refused": times if is_sign_in and is_refused and told.refused != TOLD_TO_WORK else 0,
        "shown": told.events,
        "first_seen": int(told.first_seen),
    }
    user, network = hashed(told.pseudonym), hashed(told.network) if told.network else 0
    keys = tuple(dict.fromkeys(told.keys)) if is_look else ()
    hashes = tuple(map(hashed, keys))
    yield Seen(Kind.USER, told.pseudonym, keys=hashes, network=network, **counts)
    if told.network:
        yield Seen(Kind.NETWORK, told.network, keys=hashes, user=user, **counts)
    if told.merchant:
        yield Seen(Kind.MERCHANT, str(told.merchant), keys=hashes, user=user, **counts)
    series: dict[str, list[int]] = {}
    for key in keys[:MAX_KEYS]:
        yield Seen(Kind.KEY, key, user=user, network=network, **counts)
        if grade(key) is Grade.LOT:
            yield Seen(Kind.LOT, key, user=user, **counts)
        numbered = serial(key)
        if numbered is not None:
            series.setdefault(numbered[0], []).append(numbered[1])
    for name, numbers in series.items():
        yield Seen(Kind.SERIES, told.pseudonym + SEPARATOR + name, numbers=tuple(numbers), **counts)
