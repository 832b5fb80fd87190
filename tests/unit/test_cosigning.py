"""Rounds: which checkpoint all witnesses of a log are asked for, and when the next one begins. No I/O, no clock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.note import Signer, parse_note
from goodstrace.policy import Policy
from services.sealing.cosigning import PATIENCE, Cosignatures, Cosigning, Round
from services.sealing.errors import CorruptError
from services.sealing.values import StoredCheckpoint
from tests.fake_witness import UNIX_S, FakeWitness, policy_of

LOG = Signer("test.local/00/goods/0", b"k" * 32)
ONE, TWO, THREE = WITNESSES = [FakeWitness(name) for name in ("one", "two", "three")]
MOST = policy_of(WITNESSES, 2)
INTERVAL_S = 1.0


def checkpoint(size: int) -> StoredCheckpoint:
    root = size.to_bytes(32, "big")
    return StoredCheckpoint("goods/0", size, root, sign_checkpoint(Checkpoint(LOG.name, size, root), LOG))


def cosigned(round_: Round, *witnesses: FakeWitness) -> Cosignatures:
    text = parse_note(round_.signed.note).text
    return Cosignatures({each.label: each.cosigner.cosign(text, UNIX_S) for each in witnesses})


def begun(policy: Policy = MOST, size: int = 5) -> tuple[Cosigning, Round]:
    cosigning = Cosigning(policy, INTERVAL_S)
    assert cosigning.due_s(0) is None
    cosigning.signed(checkpoint(size))
    assert cosigning.due_s(0) == 0
    cosigning.turn(0)
    assert cosigning.round is not None
    return cosigning, cosigning.round


def test_all_witnesses_are_asked_for_one_checkpoint_until_it_has_its_quorum() -> None:
    cosigning, first = begun()
    for size in (6, 9, 7):
        cosigning.signed(checkpoint(size))
    assert cosigning.due_s(1000) is None, "a quorum counts for one size only"
    assert first.add(cosigned(first, ONE))
    assert (first.reached, cosigning.due_s(1000)) == (False, None)
    assert cosigning.wanted(ONE.names) is None
    assert cosigning.wanted(TWO.names) is first
    assert first.add(cosigned(first, TWO))
    assert (first.reached, cosigning.due_s(1000)) == (True, 0)
    cosigning.turn(1000)
    assert cosigning.round is not None
    assert cosigning.round.size == 9, "the newest, not the last that was told of"
    assert cosigning.due_s(1000) is None


def test_rounds_begin_an_interval_apart() -> None:
    cosigning, first = begun()
    first.add(cosigned(first, ONE, TWO, THREE))
    assert cosigning.due_s(0.25) is None, "there is nothing newer"
    cosigning.signed(checkpoint(6))
    assert cosigning.due_s(0.25) == 0.75
    assert cosigning.due_s(3) == 0


def test_without_a_quorum_rounds_wait_for_nobody() -> None:
    cosigning, first = begun(policy_of(WITNESSES, 0))
    assert first.reached
    cosigning.signed(checkpoint(6))
    assert cosigning.due_s(2) == 0


def test_a_late_cosignature_is_added_to_the_round_it_was_asked_in() -> None:
    cosigning, first = begun()
    first.add(cosigned(first, ONE, TWO))
    cosigning.signed(checkpoint(6))
    cosigning.turn(2)
    assert first.add(cosigned(first, THREE, ONE))
    assert not first.add(cosigned(first, THREE)), "one signature of a key is enough"
    note = first.checkpoint.note
    assert note.startswith(first.signed.note), "cosignatures stand below the log's own signature"
    assert MOST.cosigners(note) == {"one", "two", "three"}
    assert first.checkpoint.signatures == 4


def test_a_round_that_cannot_have_its_quorum_any_more_is_ended() -> None:
    cosigning, first = begun()
    cosigning.signed(checkpoint(8))
    cosigning.left_behind(ONE.names, 5)
    assert (cosigning.due_s(1000), cosigning.wanted(ONE.names)) == (None, first), "that is where the round is"
    cosigning.left_behind(ONE.names, 7)
    cosigning.left_behind(TWO.names, 8)
    assert cosigning.due_s(0.25) == 0.75, "no sooner than any round"
    cosigning.turn(1)
    assert cosigning.round is not None
    assert (cosigning.round.size, cosigning.due_s(1000)) == (8, None)
    assert cosigning.wanted(ONE.names) is cosigning.round


def test_a_witness_that_says_it_is_beyond_does_not_take_the_round_from_the_others() -> None:
    """Else one that says so each time, of a log that grows, would keep it from ever being published."""
    cosigning, first = begun()
    cosigning.signed(checkpoint(8))
    cosigning.left_behind(ONE.names, 7)
    assert cosigning.wanted(ONE.names) is None, "there is nothing more to ask it in this round"
    assert cosigning.wanted(TWO.names) is first
    assert cosigning.due_s(5) == PATIENCE * INTERVAL_S - 5
    first.add(cosigned(first, TWO, THREE))
    assert cosigning.due_s(0.25) == 0.75


def test_where_the_others_do_not_answer_a_witness_that_is_beyond_is_followed() -> None:
    cosigning, first = begun()
    cosigning.signed(checkpoint(8))
    first.add(cosigned(first, THREE))
    cosigning.left_behind(ONE.names, 7)
    assert cosigning.due_s(PATIENCE * INTERVAL_S) == 0, "the second may be dead, and the first at the newest"


def test_a_witness_that_cosigns_by_some_of_its_keys_only_is_not_asked_again_at_once() -> None:
    cosigning, first = begun()
    first.add(cosigned(first, ONE))
    assert cosigning.wanted(ONE.names | TWO.names) is None


def test_what_was_published_is_gone_on_with() -> None:
    earlier = Round(MOST, checkpoint(5))
    earlier.add(cosigned(earlier, ONE, THREE))
    cosigning = Cosigning(MOST, INTERVAL_S)
    cosigning.signed(checkpoint(6))
    cosigning.resume(checkpoint(5), earlier.checkpoint.note, 0)
    round_ = cosigning.round
    assert round_ is not None
    assert all(cosigning.wanted(each.names) is round_ for each in WITNESSES), "a witness may be beyond"
    assert (round_.size, round_.reached) == (5, True)
    assert not round_.add(cosigned(round_, ONE))
    assert cosigning.wanted(ONE.names) is None
    assert round_.add(cosigned(round_, TWO))
    assert round_.checkpoint.note.startswith(earlier.checkpoint.note)
    assert cosigning.due_s(2) == 0, "what its writer told of meanwhile is not forgotten"


def test_what_was_signed_and_not_published_is_asked_for_anew() -> None:
    cosigning = Cosigning(MOST, INTERVAL_S)
    cosigning.resume(checkpoint(9), checkpoint(9).note, 0)
    assert all(cosigning.wanted(each.names) is cosigning.round for each in WITNESSES)
    assert cosigning.round is not None
    assert cosigning.round.size == 9


def test_a_stored_note_that_is_none_is_told_of() -> None:
    with pytest.raises(CorruptError, match="goods/0: the checkpoint of size 5"):
        Round(MOST, checkpoint(5), "not a note")


def test_a_note_that_has_no_room_takes_no_more() -> None:
    earlier = [FakeWitness(f"earlier-{number}") for number in range(98)]
    full = Round(policy_of(earlier, 1), checkpoint(5))
    full.add(cosigned(full, *earlier))
    round_ = Round(MOST, checkpoint(5), full.checkpoint.note)
    assert round_.add(cosigned(round_, ONE))
    assert not round_.add(cosigned(round_, TWO))
    assert Round(MOST, checkpoint(5), round_.checkpoint.note).checkpoint.signatures == 100


STEPS = st.one_of(
    st.tuples(st.just("signed"), st.integers(1, 40)),
    st.tuples(st.just("answer"), st.integers(0, 2)),
    st.tuples(st.just("late"), st.integers(0, 2)),
    st.tuples(st.just("time"), st.integers(1, 2)),
)


class Run:
    """A log, the rounds it has had, and the size it was last signed at."""

    def __init__(self) -> None:
        self.cosigning = Cosigning(MOST, INTERVAL_S)
        self.now_s = 0.0
        self.rounds: list[Round] = []
        self.newest = 0

    def step(self, what: str, number: int) -> None:
        if what == "signed":
            self.newest = max(self.newest, number)
            self.cosigning.signed(checkpoint(number))
        elif what == "time":
            self.now_s += number * 0.6
        elif self.rounds:
            asked = self.rounds[0] if what == "late" else self.rounds[-1]
            asked.add(cosigned(asked, WITNESSES[number]))
        self.turn()

    def turn(self) -> None:
        if self.cosigning.due_s(self.now_s) != 0:
            return
        before = self.cosigning.round
        self.cosigning.turn(self.now_s)
        assert self.cosigning.round is not None
        assert before is None or (before.reached and before.size < self.cosigning.round.size)
        self.rounds.append(self.cosigning.round)


@settings(max_examples=80)
@given(st.lists(STEPS, max_size=60))
def test_whatever_comes_in_whichever_order_only_a_quorum_publishes(steps: list[tuple[str, int]]) -> None:
    """And where the witnesses answer in the end, the newest checkpoint is published."""
    run = Run()
    for what, number in steps:
        run.step(what, number)
        for each in run.rounds:
            assert each.reached == MOST.satisfied_by(each.checkpoint.note)
    for what, number in [("answer", 0), ("answer", 1), ("time", 2), ("answer", 0), ("answer", 1)]:
        run.step(what, number)
    if run.rounds:
        assert (run.rounds[-1].size, run.rounds[-1].reached) == (run.newest, True)
