"""A browse record as observations: one for each user, network, merchant, key, lot and series of serials that it concerns. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from goodstrace.entry import Kind as EntryKind
from goodstrace.identifiers import Grade, grade
from services.audit.watch.sketches import hashed
from services.audit.watch.values import Kind, Seen
from services.runtime.envelope import Record
from services.runtime.errors import EnvelopeError
from services.sealing.mark_records import is_mark

MAX_KEYS: Final = 256
"""Of one record: by further keys it is not counted, only by how many different ones its user looked at."""
SEPARATOR: Final = "\n"
"""Between the user and the series in the subject of a series: the last one, since no series has any."""
_SIGN_IN: Final = "sign-in"
_REFUSAL: Final = "refusal"
_NUMBERED: Final = re.compile(r"(.*?)([0-9]{1,17})")
_SSCC: Final = re.compile(r"(https://id\.gs1\.org/00/)([0-9]{17})[0-9]")


class _Who(msgspec.Struct, frozen=True):
    user: str = ""
    merchant: int = 0
    network: str = ""


class _What(msgspec.Struct, frozen=True):
    method: str
    keys: tuple[str, ...] = ()
    kind: str = "look"


class _Outcome(msgspec.Struct, frozen=True):
    events: int = 0
    refused: str = ""
    times: int = 1


def observations(record: Record, offset: int) -> list[Seen]:
    """Give what a record of `goods.browsed` says to the watch; nothing of entries that are no browses, and of marks.

    Raises: EnvelopeError where its parts cannot be read, as after they were erased.
    """
    if record.kind is not EntryKind.BROWSE or is_mark(record):
        return []
    who, what, outcome = (
        _read(record, "who", _Who),
        _read(record, "what", _What),
        _read(record, "outcome", _Outcome),
    )
    return list(_seen(record, offset, who, what, outcome))


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


def _seen(record: Record, offset: int, who: _Who, what: _What, outcome: _Outcome) -> Iterator[Seen]:
    times, is_refused = max(1, outcome.times), bool(outcome.refused)
    is_sign_in = what.kind == _SIGN_IN
    is_look = not is_sign_in and not is_refused and what.kind != _REFUSAL
    counts: Mapping[str, Any] = {
        "offset": offset,
        "time_ms": record.time_ms,
        "id": record.id,
        "looks": times if is_look else 0,
        "refused": times if is_refused and not is_sign_in else 0,
        "sign_ins": times if is_sign_in else 0,
        "sign_ins_refused": times if is_sign_in and is_refused else 0,
        "shown": outcome.events,
    }
    user, network = hashed(who.user), hashed(who.network) if who.network else 0
    keys = tuple(dict.fromkeys(what.keys)) if is_look else ()
    hashes = tuple(map(hashed, keys))
    yield Seen(Kind.USER, who.user, keys=hashes, network=network, **counts)
    if who.network:
        yield Seen(Kind.NETWORK, who.network, keys=hashes, user=user, **counts)
    if who.merchant:
        yield Seen(Kind.MERCHANT, str(who.merchant), keys=hashes, user=user, **counts)
    series: dict[str, list[int]] = {}
    for key in keys[:MAX_KEYS]:
        yield Seen(Kind.KEY, key, user=user, network=network, **counts)
        if grade(key) is Grade.LOT:
            yield Seen(Kind.LOT, key, user=user, **counts)
        numbered = serial(key)
        if numbered is not None:
            series.setdefault(numbered[0], []).append(numbered[1])
    for name, numbers in series.items():
        yield Seen(Kind.SERIES, who.user + SEPARATOR + name, numbers=tuple(numbers), **counts)


def _read(record: Record, name: str, shape: type[Any]) -> Any:
    content = record.part(name).content
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.DecodeError as error:
        raise EnvelopeError(f"record {record.id.hex()}: its part {name!r} cannot be read") from error
