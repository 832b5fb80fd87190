import base64
import contextlib
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.checkpoint import Checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.errors import WitnessingError
from goodstrace.merkle import MAX_SIZE, root_of
from goodstrace.note import Note, Signer, Verifier, sign_note
from goodstrace.witnessing import (
    MAX_PROOF,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    Conflict,
    Cosign,
    Cosigned,
    Decision,
    Refusal,
    Suspicion,
    decide,
    encode_cosignatures,
    parse_conflict,
    parse_cosignatures,
)
from tests.witness_requests import FORKED, LOG, TRUE, asking, note_of

STRANGER = Signer("example.com/x", bytes([1] * 32))
WITNESS = Cosigner("witness.example/w1", bytes([2] * 32))
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""


def cosigned(size: int, leaves: list[bytes] = TRUE) -> Cosigned:
    return Cosigned(size, root_of(leaves[:size]))


def judged(seen: Cosigned, request: AddCheckpoint, keys: tuple[Verifier, ...] = (LOG.verifier,)) -> Decision:
    return decide(seen, request, keys)


def test_the_example_of_the_specification() -> None:
    request = AddCheckpoint.parse(EXAMPLE.encode())
    assert request.old_size == 20852014
    assert len(request.proof) == 4
    assert request.origin == "example.com/behind-the-sofa"
    assert request.encode().decode() == EXAMPLE


@given(st.integers(0, 40), st.integers(0, 40))
def test_requests_read_as_they_were_written(old: int, new: int) -> None:
    request = asking(old, new)
    assert AddCheckpoint.parse(request.encode()) == request


@given(st.binary() | st.builds(lambda at, byte: EXAMPLE.encode()[:at] + byte + EXAMPLE.encode()[at + 1 :],
                               st.integers(0, len(EXAMPLE)), st.binary(max_size=2)))  # fmt: skip
def test_any_bytes_are_a_request_or_a_witnessing_error(body: bytes) -> None:
    try:
        request = AddCheckpoint.parse(body)
    except WitnessingError:
        return
    assert request.encode() == body


@pytest.mark.parametrize(
    "head",
    ["", "new 5", "old", "old ", "old 05", "old +5", "old -0", "old 5 ", "old  5", "old \u0665", f"old {MAX_SIZE + 1}", "old 5\r",
     "old 5\nAA==", "old 5\n" + "A" * 43, "old 5\n" + "A" * 42 + "B=", "\n".join(["old 5"] + ["A" * 43 + "="] * 64)],
)  # fmt: skip
def test_malformed_requests(head: str) -> None:
    note = note_of(5, TRUE)
    assert AddCheckpoint.parse(f"old 5\n\n{note}".encode()).old_size == 5
    with pytest.raises(WitnessingError):
        AddCheckpoint.parse(f"{head}\n\n{note}".encode())


def test_limits_of_requests() -> None:
    note = note_of(5, TRUE)
    most = AddCheckpoint(MAX_SIZE, (bytes(32),) * MAX_PROOF, note)
    assert AddCheckpoint.parse(most.encode()) == most
    for wrong in [b"old 5\n\n", f"old 5\n\n{note[:-1]}".encode(), f"old 5\n{note}".encode(), bytes(MAX_REQUEST_BYTES + 1)]:  # fmt: skip
        with pytest.raises(WitnessingError):
            AddCheckpoint.parse(wrong)
    for size, hashes in [(-1, ()), (MAX_SIZE + 1, ()), (5, (bytes(31),)), (5, (bytes(32),) * 64)]:
        with pytest.raises(WitnessingError):
            AddCheckpoint(size, hashes, note)
    with pytest.raises(WitnessingError):
        AddCheckpoint(5, (), "no note \ud800")


@pytest.mark.parametrize(
    ("old", "new"), [(0, 0), (0, 1), (0, 40), (1, 1), (1, 2), (7, 13), (8, 40), (40, 40)]
)
def test_a_checkpoint_that_goes_on_is_cosigned(old: int, new: int) -> None:
    decision = judged(cosigned(old), asking(old, new))
    assert isinstance(decision, Cosign)
    assert decision.checkpoint == Checkpoint(LOG.name, new, root_of(TRUE[:new]))
    assert decision.note.encode() == note_of(new, TRUE)


def test_statuses_of_the_specification() -> None:
    seen = cosigned(7)
    unknown = AddCheckpoint(7, (), note_of(9, TRUE, STRANGER))
    misnamed = AddCheckpoint(7, (), sign_note(Checkpoint(LOG.name, 9, bytes(32)).text(), [STRANGER]).encode())
    good = asking(7, 9)
    changed = AddCheckpoint(7, good.proof, good.note.replace("\n9\n", "\n8\n"))
    hash_ = base64.b64encode(bytes(32)).decode()
    texts = ["no checkpoint\n", f"{LOG.name}\n09\n{hash_}\n", f"{LOG.name}\n9\n{hash_[:-1]}\n", f"{LOG.name}\n9\n",
             f"{LOG.name}\n9\n{hash_}\n\nextension\n", f"\n9\n{hash_}\n", "\n"]  # fmt: skip
    refused = [
        (HTTPStatus.NOT_FOUND, unknown, ()),
        (HTTPStatus.FORBIDDEN, misnamed, (LOG.verifier,)),
        (HTTPStatus.FORBIDDEN, changed, (LOG.verifier,)),
        (HTTPStatus.BAD_REQUEST, asking(8, 7), (LOG.verifier,)),
        *[
            (HTTPStatus.BAD_REQUEST, AddCheckpoint(7, (), sign_note(text, [LOG]).encode()), (LOG.verifier,))
            for text in texts
        ],
    ]
    for status, request, keys in refused:
        decision = judged(seen, request, keys)
        assert isinstance(decision, Refusal)
        assert (decision.status, decision.suspicion) == (status, None)
    assert (
        judged(seen, asking(6, 9)) == judged(seen, asking(9, 9)) == judged(seen, asking(0, 5)) == Conflict(7)
    )
    assert Conflict(7).body() == "7\n"


def test_a_fork_is_refused_and_told_from_a_wrong_proof() -> None:
    seen = cosigned(7)
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    for request, suspicion in [
        (asking(7, 7, FORKED), Suspicion.FORK),
        (asking(7, 9, FORKED), Suspicion.INCONSISTENT),
        (AddCheckpoint(7, (), note_of(9, TRUE)), Suspicion.INCONSISTENT),
        (AddCheckpoint(7, (bytes(32),), note_of(7, TRUE)), None),
    ]:
        decision = judged(seen, request)
        assert isinstance(decision, Refusal)
        assert (decision.status, decision.suspicion) == (status, suspicion)
    assert judged(seen, asking(0, 7, FORKED)) == Conflict(7, Suspicion.FORK)
    assert judged(seen, asking(0, 9, FORKED)) == Conflict(7)  # nobody can tell yet
    longer = judged(Cosigned(), AddCheckpoint(0, (bytes(32),), note_of(9, TRUE)))
    assert isinstance(longer, Refusal)
    assert (longer.status, longer.suspicion) == (status, None)


def test_an_empty_tree_with_another_root_is_unprocessable() -> None:
    text = f"{LOG.name}\n0\n{base64.b64encode(bytes(32)).decode()}\n"
    decision = judged(Cosigned(), AddCheckpoint(0, (), sign_note(text, [LOG]).encode()))
    assert isinstance(decision, Refusal)
    assert decision.status == HTTPStatus.UNPROCESSABLE_ENTITY


def test_extension_lines_are_cosigned_with_the_rest_and_other_signatures_left_out() -> None:
    text = Checkpoint(LOG.name, 9, root_of(TRUE[:9])).text() + "extension\n"
    signed = sign_note(text, [STRANGER, LOG])
    decision = judged(Cosigned(), AddCheckpoint(0, (), signed.encode()))
    assert isinstance(decision, Cosign)
    assert decision.note == Note(text, signed.signatures[1:])


requests = st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from([TRUE, FORKED]), st.booleans())


@given(st.lists(requests, max_size=30))
def test_whatever_is_asked_the_cosigned_checkpoints_are_one_growing_line(
    asked: list[tuple[int, int, list[bytes], bool]],
) -> None:
    seen, line = Cosigned(), [Cosigned()]
    for old, new, leaves, follows in asked:
        decision = judged(seen, asking(seen.size if follows else old, new, leaves))
        if isinstance(decision, Cosign):
            seen = Cosigned(decision.checkpoint.size, decision.checkpoint.root)
            line.append(seen)
        elif isinstance(decision, Conflict):
            assert decision.size == seen.size
    assert [each.size for each in line] == sorted(each.size for each in line)
    assert any(all(each == cosigned(each.size, leaves) for each in line) for leaves in (TRUE, FORKED))


def test_answers_are_read_as_they_are_written() -> None:
    signatures = (WITNESS.cosign("text\n", 7), WITNESS.cosign("text\n", 8))
    assert parse_cosignatures(encode_cosignatures(signatures).encode()) == signatures
    assert parse_conflict(Conflict(MAX_SIZE).body().encode()) == MAX_SIZE


@given(st.binary())
def test_any_bytes_are_an_answer_or_a_witnessing_error(body: bytes) -> None:
    with contextlib.suppress(WitnessingError):
        assert encode_cosignatures(parse_cosignatures(body)).encode() == body
    with contextlib.suppress(WitnessingError):
        assert f"{parse_conflict(body)}\n".encode() == body


def test_malformed_answers() -> None:
    line = encode_cosignatures([WITNESS.cosign("text\n", 7)])
    for body in ["", "\n", line[:-1], f"text\n\n{line}", f"\n{line}", f"{line}\n{line}", f"{line}text\n"]:
        with pytest.raises(WitnessingError):
            parse_cosignatures(body.encode())
    for body in ["", "\n", "5", "05\n", "5\n\n", "+5\n", "5\r\n", f"{MAX_SIZE + 1}\n"]:
        with pytest.raises(WitnessingError):
            parse_conflict(body.encode())
