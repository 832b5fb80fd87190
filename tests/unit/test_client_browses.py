"""The client listing look-ups, against an audit service in memory that can be told to lie."""

from collections.abc import Callable
from typing import Any

import pytest

from goodstrace.client import Client
from goodstrace.errors import (
    AnswerError,
    CheckpointError,
    EntryError,
    NoteError,
    ProofError,
    VerificationError,
)
from tests.unit.fake_services import KEY, ClientOf, FakeServices


def test_browses_come_verified_newest_first_over_all_pages(
    services: FakeServices, client_of: ClientOf
) -> None:
    services.logs["browse/0"].append_browses(150)
    found = client_of(user="ann").browses(key=KEY, limit=120)
    assert [entry.index for entry in found.entries] == list(range(154, 34, -1))
    assert len(found.browse_ids) == 3
    assert set(services.users) == {"ann"}
    assert {request.key for request in services.requests} == {KEY}
    assert all(set(entry.parts) == {"who", "what", "purpose", "outcome"} for entry in found.entries)


def test_a_withheld_part_is_named(services: FakeServices, client_of: ClientOf) -> None:
    def withhold(answer: Any) -> None:
        del answer.browses[0].parts[0]

    services.altered = withhold
    found = client_of().browses(user="someone")
    assert [entry.withheld for entry in found.entries] == [("who",), (), (), (), ()]


@pytest.mark.parametrize("asked", [{"key": "urn:test:other"}, {"user": "ann"}])
def test_look_ups_of_other_goods_or_by_others_are_refused(client_of: ClientOf, asked: dict[str, str]) -> None:
    with pytest.raises(AnswerError, match=r"browse/0\[4\]: asked for look-ups"):
        client_of().browses(**asked)


def test_an_event_in_place_of_a_look_up_is_refused(services: FakeServices, client_of: ClientOf) -> None:
    def exchange(answer: Any) -> None:
        answer.browses[0].CopyFrom(services.logs["goods/0"].sealed(2))
        answer.checkpoints.append(services.logs["goods/0"].checkpoint())

    services.altered = exchange
    with pytest.raises(AnswerError, match="kind event stands where a look-up should"):
        client_of().browses(key=KEY)


def test_a_look_up_shown_twice_is_refused(services: FakeServices, client_of: ClientOf) -> None:
    services.altered = lambda answer: answer.browses.append(answer.browses[0])
    with pytest.raises(AnswerError, match="twice"):
        client_of().browses(key=KEY)


def test_browses_want_something_that_says_which(client_of: ClientOf, services: FakeServices) -> None:
    for arguments in ({}, {"end_ms": 5}, {"outcome": "failed"}):
        with pytest.raises(ValueError, match="a key, user, merchant or time"):
            client_of().browses(**arguments)
    with Client("unix:nowhere", services.keys()) as client, pytest.raises(ValueError, match="audit_target"):
        client.browses(key=KEY)


def set_byte(data: bytes, position: int = -1) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


Lie = Callable[[Any], None]
LIES: list[Lie] = []


def lie(alter: Lie) -> Lie:
    """Collect a way to alter a page of browse records."""
    LIES.append(alter)
    return alter


@lie
def _entry(answer: Any) -> None:
    answer.browses[1].entry = set_byte(answer.browses[1].entry, 10)


@lie
def _content(answer: Any) -> None:
    answer.browses[1].parts[0].content = set_byte(answer.browses[1].parts[0].content)


@lie
def _salt(answer: Any) -> None:
    answer.browses[1].parts[0].salt = set_byte(answer.browses[1].parts[0].salt)


@lie
def _short_salt(answer: Any) -> None:
    answer.browses[1].parts[0].salt = answer.browses[1].parts[0].salt[:-1]


@lie
def _part_name(answer: Any) -> None:
    answer.browses[1].parts[0].name = "purpose"


@lie
def _part_twice(answer: Any) -> None:
    answer.browses[1].parts.append(answer.browses[1].parts[0])


@lie
def _proof(answer: Any) -> None:
    answer.browses[1].inclusion_proof[0] = set_byte(answer.browses[1].inclusion_proof[0])


@lie
def _proof_cut(answer: Any) -> None:
    del answer.browses[1].inclusion_proof[-1]


@lie
def _proof_grown(answer: Any) -> None:
    answer.browses[1].inclusion_proof.append(bytes(32))


@lie
def _proof_short_hash(answer: Any) -> None:
    answer.browses[1].inclusion_proof[0] = answer.browses[1].inclusion_proof[0][:-1]


@lie
def _index(answer: Any) -> None:
    answer.browses[1].index += 1


@lie
def _index_huge(answer: Any) -> None:
    answer.browses[1].index = 2**64 - 1


@lie
def _log(answer: Any) -> None:
    answer.browses[1].log = "goods/0"


@lie
def _other_entry(answer: Any) -> None:
    answer.browses[1].entry = answer.browses[0].entry


@lie
def _other_parts(answer: Any) -> None:
    del answer.browses[1].parts[:]
    answer.browses[1].parts.extend(answer.browses[0].parts)


@lie
def _no_checkpoint(answer: Any) -> None:
    del answer.checkpoints[:]


@lie
def _note_size(answer: Any) -> None:
    answer.checkpoints[0].note = answer.checkpoints[0].note.replace("\n5\n", "\n6\n", 1)


@lie
def _note_empty(answer: Any) -> None:
    answer.checkpoints[0].note = ""


@pytest.mark.parametrize("alter", LIES, ids=lambda each: each.__name__.strip("_"))
def test_an_altered_browse_record_is_refused(services: FakeServices, client_of: ClientOf, alter: Lie) -> None:
    client = client_of()
    client.browses(key=KEY)
    services.altered = alter
    with pytest.raises(VerificationError) as raised:
        client.browses(key=KEY)
    assert type(raised.value) in (AnswerError, CheckpointError, EntryError, NoteError, ProofError)


def test_a_service_that_gives_a_page_again_is_left(services: FakeServices, client_of: ClientOf) -> None:
    def again(answer: Any) -> None:
        answer.next_page_token = "2"

    services.altered = again
    with pytest.raises(AnswerError, match="again and again"):
        client_of().browses(key=KEY, limit=100_000)


def test_pages_under_different_checkpoints_are_refused(services: FakeServices, client_of: ClientOf) -> None:
    log = services.logs["browse/0"]
    log.append_browses(90)
    services.altered = lambda _: log.append_browses(1)
    with pytest.raises(AnswerError, match="different checkpoints"):
        client_of().browses(key=KEY, limit=80)
