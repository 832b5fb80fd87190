"""The record of a look: its parts, its tags, its entry."""

import json

from goodstrace.entry import Kind, TagKind, tag
from services.runtime import envelope
from services.sealing.browse import Browse, browse_record
from services.sealing.entries import check

SECRET = b"x" * 32
KEY = "https://id.gs1.org/01/09521234543213/21/1"
SALTS = tuple(bytes((n,)) * 32 for n in range(4))


def _record(**changes: object) -> envelope.Record:
    fields: dict[str, object] = {
        "user": "ann",
        "method": "Trace",
        "keys": (KEY,),
        "sizes": {"goods/1": 7, "goods/0": 3},
        "purpose": "recall",
        "events": 5,
    }
    browse = Browse(**{**fields, **changes})  # type: ignore[arg-type]
    return browse_record(browse, secret=SECRET, record_id=b"i" * 16, time_ms=1_700_000_000_000, salts=SALTS)


def test_the_parts_say_who_what_why_and_how_much() -> None:
    record = _record()
    assert {part.name: json.loads(part.content) for part in record.parts} == {
        "who": {"user": "ann"},
        "what": {
            "checkpoints": [{"log": "goods/0", "size": 3}, {"log": "goods/1", "size": 7}],
            "keys": [KEY],
            "method": "Trace",
        },
        "purpose": {"purpose": "recall"},
        "outcome": {"events": 5},
    }
    assert [part.salt for part in record.parts] == list(SALTS)


def test_it_is_found_by_the_key_asked_and_by_the_user() -> None:
    own = tag(SECRET, TagKind.RECORD, _record().id.hex())
    assert set(_record().tags) == {tag(SECRET, TagKind.KEY, KEY), tag(SECRET, TagKind.USER, "ann"), own}
    assert set(_record(keys=(), asked_user="bob").tags) == {tag(SECRET, TagKind.USER, "ann"), own}


def test_a_listing_by_user_says_of_whom() -> None:
    what = json.loads(_record(method="ListBrowses", keys=(), asked_user="bob").part("what").content)
    assert (what["user"], what["keys"]) == ("bob", [])


def test_its_entry_is_that_of_a_browse_and_shows_nothing() -> None:
    record = _record()
    entry = check(envelope.decode(envelope.encode(record)))
    assert (entry.kind, entry.merchant, entry.time) == (Kind.BROWSE, 0, 1_700_000_000_000)
    assert b"ann" not in record.entry
    assert KEY.encode() not in record.entry
