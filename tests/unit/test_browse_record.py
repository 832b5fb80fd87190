"""The record of a look: its parts, its tags, its entry."""

import json

import msgspec
import pytest

from goodstrace import asked_user
from goodstrace.encrypted_parts import encrypt, is_encrypted, record_key
from goodstrace.entry import Kind, TagKind, part_commitment, tag
from goodstrace.record.v1 import record_pb2
from services.runtime import envelope
from services.runtime.access.values import EVERYBODY, NOBODY, Principal, Role
from services.sealing.browse import Browse, BrowseKind, browse_record, contents_of, role_of, watched_browse
from services.sealing.entries import check
from tests.opened_browses import MemoryPeople, opened_record

SECRET = b"x" * 32
KEY = "https://id.gs1.org/01/09521234543213/21/1"
USER_KEY = b"u" * 32
ASKED_KEY = b"a" * 32
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
    return browse_record(
        browse,
        secret=SECRET,
        user_key=USER_KEY,
        record_id=b"i" * 16,
        time_ms=1_700_000_000_000,
        salts=SALTS,
        asked_key=ASKED_KEY,
    )


def test_the_parts_say_who_what_why_and_how_much() -> None:
    record = _record()
    assert {part.name: json.loads(part.content) for part in opened_record(record, [USER_KEY]).parts} == {
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


def test_it_is_found_by_the_key_asked_and_its_id_and_by_nothing_of_the_user() -> None:
    own = tag(SECRET, TagKind.RECORD, _record().id.hex())
    assert set(_record().tags) == {tag(SECRET, TagKind.KEY, KEY), own}
    assert set(_record(keys=(), asked_user="bob").tags) == {own}


def test_all_but_the_outcome_is_encrypted() -> None:
    record = _record(user="ann", asked_user="bob", network="192.0.2.0/24", purpose="for carl", role="auditor")
    encrypted = {part.name: is_encrypted(part.content) for part in record.parts}
    assert encrypted == {"who": True, "what": True, "purpose": True, "outcome": False}
    told = envelope.encode(record)
    for text in (b"ann", b"bob", b"carl", b"192.0", b"auditor", b"Trace", KEY.encode()):
        assert text not in told
    assert not any(is_encrypted(part.content) for part in opened_record(record, [USER_KEY]).parts)
    assert opened_record(record, [b"o" * 32]) == record


def test_whoever_guesses_the_true_content_cannot_tell_that_it_is() -> None:
    """The same look again is other bytes, and the commitment is over what cannot be made without the user's key."""
    salts = tuple(part.salt for part in _record().parts)
    guessed = contents_of(
        Browse(user="ann", method="Trace", keys=(KEY,), sizes={}, purpose="recall", events=5)
    )
    entry = check(_record())
    for part, salt in zip(entry.parts, salts, strict=True):
        assert part_commitment(part.name, salt, guessed[part.name]) != part or part.name == "outcome"
        for key in (bytes(32), b"guess".ljust(32), KEY.encode()[:32]):
            made = encrypt(record_key(key, b"i" * 16, part.name), b"i" * 16, part.name, guessed[part.name])
            assert part_commitment(part.name, salt, made) != part or part.name == "outcome"


async def test_what_is_told_beside_the_record_says_what_the_watch_counts_and_names_nobody() -> None:
    person = await MemoryPeople().person("ann", 1)
    browse = Browse(
        user="ann",
        method="Trace",
        keys=(KEY,),
        sizes={"goods/0": 3},
        purpose="recall",
        events=5,
        merchant=7,
        network="192.0.2.0/24",
        role="merchant",
    )
    told = watched_browse(browse, person, record_id=b"i" * 16, time_ms=12)
    assert told == record_pb2.WatchedBrowse(
        record_id=b"i" * 16,
        time_ms=12,
        pseudonym=person.pseudonym,
        merchant=7,
        network="192.0.2.0/24",
        method="Trace",
        kind="look",
        keys=[KEY],
        events=5,
        times=1,
        first_seen=True,
        role="merchant",
    )
    changed = msgspec.structs.replace(browse, kind=BrowseKind.ACCOUNT_CHANGE)
    told = watched_browse(changed, person, record_id=b"i" * 16, time_ms=12)
    assert not told.keys  # they name an account, and this is in clear
    assert b"ann" not in told.SerializeToString()


def test_one_role_is_told_of_somebody_and_none_where_accounts_are_off() -> None:
    assert role_of(Principal(roles=frozenset({Role.SHOPPER, Role.AUDITOR}))) == "auditor"
    assert role_of(Principal(roles=frozenset({Role.OPERATOR, Role.AUDITOR}))) == "auditor"
    assert role_of(Principal(roles=frozenset({Role.OPERATOR, Role.MERCHANT}))) == "operator"
    assert role_of(NOBODY) == role_of(EVERYBODY) == ""


def test_a_listing_by_user_says_of_whom() -> None:
    made = _record(method="ListBrowses", keys=(), asked_user="bob")
    what = json.loads(opened_record(made, [USER_KEY, ASKED_KEY]).part("what").content)
    assert (what["user"], what["keys"]) == ("bob", [])


def test_of_whom_it_was_goes_with_that_ones_key_and_the_rest_stays_readable() -> None:
    made = _record(method="ListBrowses", keys=(), asked_user="bob", query="from=7")
    what = opened_record(made, [USER_KEY]).part("what").content
    assert b"bob" not in what
    told = json.loads(what)
    assert (told["method"], told["query"], set(told["asked"])) == (
        "ListBrowses",
        "from=7",
        {"alg", "data", "key", "v"},
    )
    assert opened_record(made, [ASKED_KEY]) == made
    for guess in (bytes(32), b"bob".ljust(32), USER_KEY):
        assert asked_user.encrypted(guess, made.id, "bob") not in what


def test_without_the_key_of_who_is_asked_for_no_record_is_made() -> None:
    with pytest.raises(ValueError, match="a user key"):
        browse_record(
            Browse(
                user="ann", method="ListBrowses", keys=(), sizes={}, purpose="", events=0, asked_user="bob"
            ),
            secret=SECRET,
            user_key=USER_KEY,
            record_id=b"i" * 16,
            time_ms=1,
            salts=SALTS,
        )


def test_its_entry_is_that_of_a_browse_and_shows_nothing() -> None:
    record = _record()
    entry = check(envelope.decode(envelope.encode(record)))
    assert (entry.kind, entry.merchant, entry.time) == (Kind.BROWSE, 0, 1_700_000_000_000)
    assert b"ann" not in record.entry
    assert KEY.encode() not in record.entry
