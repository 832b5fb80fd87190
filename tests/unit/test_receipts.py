"""Receipts: what is read out of answers, how they are signed, kept and checked; a service that denies a look is found out."""

import base64
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.checked_receipts import Signed, check_receipts
from goodstrace.client_receipts import OnReceipt, ReceiptCalls
from goodstrace.entry import Entry, Kind, TagsCommitment, encode
from goodstrace.errors import AnswerError, QuorumError, RememberedError, SignatureError
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import EMPTY_ROOT, leaf_hash
from goodstrace.query.v1 import trace_pb2
from goodstrace.receipt_store import Kept, ReceiptStore
from goodstrace.receipts import (
    BrowseProof,
    Receipt,
    Standing,
    check_date,
    check_sealed,
    check_signed,
    read_receipt,
    receipt_in,
    standing,
)
from goodstrace.verification import VerifiedEntry
from services.query.accounts.receipt_signing import signed_receipt
from services.query.accounts.signing_keys import SigningKey, claims, new_key, signed
from services.runtime.access.tokens import TokenRules, Tokens, public_key
from services.runtime.answering import receipt_of
from services.runtime.looks import Look
from services.runtime.merchants.errors import UnauthenticatedError
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("browse_receipts")
KEY = new_key(0, 0)
KEYS = {KEY.kid: KEY.public()}
NOW_MS = time.time_ns() // 1_000_000
LOOK = Look(b"a" * 16, b"l" * 32, "browse/3", NOW_MS)


def _receipt(look: Look = LOOK, key: SigningKey = KEY) -> Receipt:
    return read_receipt(receipt_of(look, signed_receipt(key, "goodstrace.local", look)))


def _entry(look: Look) -> Entry:
    tags = TagsCommitment(n=0, root=EMPTY_ROOT.hex())
    return Entry(
        id=look.record_id.hex(), kind=Kind.BROWSE, merchant=0, parts=(), tags=tags, time=look.time_ms
    )


def test_a_signed_receipt_is_verified_by_the_key_set() -> None:
    assert check_signed(_receipt(), KEYS)
    assert not check_signed(_receipt(), {})  # a key that is not published any more
    unsigned = read_receipt(receipt_of(LOOK, ""))
    assert not check_signed(unsigned, KEYS)


@pytest.mark.parametrize(
    "change",
    [
        {"browse_id": "00" * 16},
        {"leaf_hash": bytes(32)},
        {"log": "browse/1"},
        {"time_ms": 5},
        {"signed": "a.b"},
        {"signed": "a.b.c"},
        {"signed": "....."},
    ],
)
def test_a_signature_over_something_else_is_refused(change: dict[str, Any]) -> None:
    receipt = _receipt()
    fields = {name: getattr(receipt, name) for name in Receipt.__slots__}
    with pytest.raises(SignatureError):
        check_signed(Receipt(**{**fields, **change}), KEYS)


def test_a_signature_by_another_key_or_of_another_kind_is_refused() -> None:
    other = new_key(0, 0)
    with pytest.raises(SignatureError):
        check_signed(_receipt(), {KEY.kid: other.public()})
    said = claims(
        issuer="goodstrace.local",
        account="a",
        name="n",
        roles=[],
        merchant=0,
        session="",
        issued_ms=NOW_MS,
        lasts_s=300,
        jti=LOOK.record_id.hex(),
    )
    token = signed(KEY, {**said, "leaf": "bGxs", "log": "browse/3"})
    with pytest.raises(SignatureError):
        check_signed(read_receipt(receipt_of(LOOK, token)), KEYS)


@given(text=st.text(max_size=200))
def test_whatever_stands_for_a_signature_is_refused_or_checked(text: str) -> None:
    receipt = Receipt("aa" * 16, bytes(32), "browse/0", 1, text)
    with contextlib.suppress(SignatureError):
        assert not check_signed(receipt, KEYS)


async def test_a_receipt_is_never_taken_for_an_access_token() -> None:
    class Keys:
        async def find(self, kid: str) -> Any:
            return public_key(KEYS[kid])

    for typ in ("at+jwt", ""):
        rules = TokenRules("goodstrace.local", "goodstrace.local", typ=typ)
        with pytest.raises(UnauthenticatedError):
            await Tokens(rules, Keys(), lambda: NOW_MS).claims(_receipt().signed)


@pytest.mark.parametrize("vector", VECTORS["receipts"], ids=lambda vector: str(vector["name"]))
def test_published_receipts_byte_by_byte(vector: dict[str, Any]) -> None:
    key = SigningKey(**VECTORS["key"], made_ms=0, signs_from_ms=0)
    look = Look(
        bytes.fromhex(vector["browse_id"]),
        bytes.fromhex(vector["leaf_hash"]),
        vector["log"],
        vector["time_ms"],
    )
    assert signed_receipt(key, VECTORS["issuer"], look) == vector["signed"]
    assert check_signed(read_receipt(receipt_of(look, vector["signed"])), {key.kid: key.public()})
    header, payload, _ = vector["signed"].split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == vector["header"]
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == vector["payload"]


def _answer(**changes: Any) -> trace_pb2.TraceResponse:
    fields = {
        "browse_id": "aa" * 16,
        "leaf_hash": bytes(32),
        "log": "browse/0",
        "time_ms": 1,
        **changes,
    }
    return trace_pb2.TraceResponse(browse_id="aa" * 16, receipt=log_pb2.BrowseReceipt(**fields))


def test_a_receipt_is_read_out_of_an_answer() -> None:
    assert receipt_in(_answer()) == Receipt("aa" * 16, bytes(32), "browse/0", 1)
    assert receipt_in(trace_pb2.TraceResponse(browse_id="aa" * 16)) is None
    assert receipt_in(trace_pb2.GetCheckpointResponse()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"browse_id": "bb" * 16},
        {"browse_id": "AA" * 16},
        {"leaf_hash": b"short"},
        {"log": "goods/0"},
        {"log": "browse/0/../1"},
        {"signed": "x" * 3000},
        {"time_ms": 2**63},
    ],
)
def test_a_malformed_receipt_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AnswerError):
        receipt_in(_answer(**change))


def test_only_the_entry_that_was_promised_is_taken() -> None:
    entry = _entry(LOOK)
    receipt = Receipt(LOOK.record_id.hex(), leaf_hash(encode(entry)), "browse/3", NOW_MS)
    found = VerifiedEntry("browse/3", 7, entry, {}, ())
    check_sealed(receipt, found)
    other = _entry(Look(b"b" * 16, b"", "", NOW_MS))
    for wrong in (VerifiedEntry("browse/2", 7, entry, {}, ()), VerifiedEntry("browse/3", 7, other, {}, ())):
        with pytest.raises(AnswerError, match="is not the record of the look"):
            check_sealed(receipt, wrong)


def test_a_look_is_missing_once_its_time_is_over() -> None:
    receipt = Receipt("aa" * 16, bytes(32), "browse/0", 1_000_000)
    assert standing(receipt, now_s=1059, within_s=60) is Standing.NOT_YET
    assert standing(receipt, now_s=1061, within_s=60) is Standing.MISSING


@given(ahead_ms=st.integers(-10_000, 10**12), passed_s=st.integers(0, 10**6))
def test_a_receipt_dated_ahead_is_missing_no_later_than_one_that_is_not(ahead_ms: int, passed_s: int) -> None:
    came_ms = 1_700_000_000_000
    receipt = Receipt("aa" * 16, bytes(32), "browse/0", came_ms + ahead_ms)
    now_s = came_ms / 1000 + passed_s
    stands = standing(receipt, now_s=now_s, within_s=60, received_ms=came_ms)
    assert (stands is Standing.MISSING) is (passed_s - min(ahead_ms, 0) / 1000 > 60)
    assert standing(receipt, now_s=now_s, within_s=60) is (
        Standing.MISSING if passed_s - ahead_ms / 1000 > 60 else Standing.NOT_YET
    )


def test_a_receipt_dated_ahead_hides_no_denial() -> None:
    service = Service()
    now_ms = time.time_ns() // 1_000_000
    receipt = Receipt("aa" * 16, bytes(32), "browse/0", now_ms + 365 * 86_400_000)
    service.denies.add(receipt.browse_id)
    [denied] = check_receipts([Kept("here", receipt, received_ms=now_ms)], service.prove, {}, _is_late)
    assert (denied.standing, denied.is_broken) == (Standing.MISSING, True)


def test_what_is_dated_far_ahead_is_refused_as_it_comes() -> None:
    check_date(Receipt("aa" * 16, bytes(32), "browse/0", 1_600_000), now_s=1_000)
    ahead = Receipt("aa" * 16, bytes(32), "browse/0", 1_900_000)
    with pytest.raises(AnswerError, match="dated 15 minutes ahead of this machine's clock"):
        check_date(ahead, now_s=1_000)


def test_a_receipt_that_is_refused_for_its_date_was_handed_on_before() -> None:
    """Who keeps it can still show it: the service may have signed it."""

    class Calls(ReceiptCalls):
        _audit_channel = None

        def __init__(self, on_receipt: OnReceipt) -> None:
            self._on_receipt = on_receipt

        def _checkpoints(self, pages: Any) -> Any: ...

        def _call(self, method: Any, request: Any) -> Any: ...

    kept = list[Receipt]()
    calls = Calls(kept.append)
    calls._received(_answer())
    with pytest.raises(AnswerError, match="ahead of this machine's clock"):
        calls._received(_answer(time_ms=time.time_ns() // 1_000_000 + 3_600_000))
    assert len(kept) == 2


class Service:
    """Answers for receipts: honest, or it denies looks (threat: the service denies a look that it answered)."""

    def __init__(self) -> None:
        self.denies: set[str] = set()
        self.lies: set[str] = set()

    def prove(self, kept: Kept) -> BrowseProof:
        receipt = kept.receipt
        if receipt.browse_id in self.lies:
            raise AnswerError("another entry")
        if receipt.browse_id in self.denies:
            stands = standing(receipt, now_s=time.time() + 3600, received_ms=kept.received_ms)
            return BrowseProof(receipt, stands, None)
        entry = VerifiedEntry(receipt.log, 4, _entry(LOOK), {}, ())
        return BrowseProof(receipt, Standing.SEALED, None, entry)


def _is_late(kept: Kept) -> bool:
    stands = standing(kept.receipt, now_s=time.time(), received_ms=kept.received_ms)
    return stands is Standing.MISSING


def test_keeping_the_witnesses_away_denies_no_look() -> None:
    """A checkpoint without its cosignatures may be one that only this client is shown."""

    def uncosigned(_kept: Kept) -> BrowseProof:
        raise QuorumError("1 of 2 witnesses")

    now_ms = time.time_ns() // 1_000_000
    fresh, old = (Receipt("aa" * 16, bytes(32), "browse/0", now_ms - ago) for ago in (0, 86_400_000))
    [waiting] = check_receipts([Kept("here", fresh)], uncosigned, {}, _is_late)
    assert (waiting.is_broken, waiting.unchecked) == (False, "1 of 2 witnesses")
    for kept in (Kept("here", old), Kept("here", fresh, index=5)):
        [denied] = check_receipts([kept], uncosigned, {}, _is_late)
        assert (denied.is_broken, denied.standing) == (True, Standing.MISSING)


def test_a_service_that_denies_a_look_it_answered_is_found_out() -> None:
    service = Service()
    looks = [Look(bytes((number,)) * 16, b"l" * 32, "browse/3", NOW_MS) for number in range(4)]
    kept = [Kept("here", _receipt(look)) for look in looks]
    service.denies.add(kept[1].receipt.browse_id)
    service.lies.add(kept[2].receipt.browse_id)
    kept[3] = Kept("here", _receipt(looks[3], new_key(0, 0)))
    found = list(check_receipts(kept, service.prove, KEYS, _is_late))
    assert [each.is_broken for each in found] == [False, True, True, False]
    assert [each.index for each in found] == [4, None, None, 4]
    assert [each.signed for each in found] == [Signed.YES, Signed.YES, Signed.YES, Signed.UNKNOWN]
    # The receipt alone convicts it: signed by its own key, of a leaf that is in no log.
    assert check_signed(found[1].kept.receipt, KEYS)


def test_a_look_that_was_proved_once_must_stay_in_the_log() -> None:
    service = Service()
    receipt = Receipt("aa" * 16, bytes(32), "browse/0", time.time_ns() // 1_000_000 + 7_200_000)
    service.denies.add(receipt.browse_id)
    [fresh] = check_receipts([Kept("here", receipt)], service.prove, {}, _is_late)
    assert (fresh.standing, fresh.is_broken) == (Standing.NOT_YET, False)
    [known] = check_receipts([Kept("here", receipt, index=9)], service.prove, {}, _is_late)
    assert known.is_broken


def _kept(number: int) -> Kept:
    return Kept("here", Receipt(f"{number:032x}", bytes(32), "browse/0", number, "s" * 300))


def test_when_a_receipt_came_is_kept_and_lines_of_before_lack_it(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    store = ReceiptStore(path)
    assert store.add(Kept("here", _kept(1).receipt, received_ms=5))
    line = json.loads(path.read_text())
    del line["received_ms"]
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    store.proved({_kept(1).receipt.browse_id: 3})
    assert [each.received_ms for each in store.all()] == [5, None]


def test_receipts_are_kept_for_their_owner_alone_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "state" / "receipts.jsonl"
    store = ReceiptStore(path)
    assert store.all() == []
    assert all(store.add(_kept(number)) for number in range(5))
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.all() == [_kept(number) for number in range(5)]
    store.proved({_kept(3).receipt.browse_id: 17})
    assert [each.index for each in store.all()] == [None, None, None, 17, None]
    assert path.stat().st_mode & 0o777 == 0o600
    store.forget({_kept(0).receipt.browse_id})
    assert [each.receipt.time_ms for each in ReceiptStore(path).all()] == [1, 2, 3, 4]
    path.chmod(0o644)
    with pytest.raises(RememberedError, match="open to others"):
        store.all()


def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    store = ReceiptStore(path)
    store.add(_kept(1))
    path.write_bytes(path.read_bytes() + path.read_bytes()[:100])
    assert store.all() == [_kept(1)]
    store.add(_kept(2))
    assert store.all() == [_kept(1), _kept(2)]
    path.write_bytes(b"no receipt\n")
    with pytest.raises(RememberedError):
        store.all()


def test_a_full_file_lets_go_of_the_oldest_proved_ones_alone(tmp_path: Path) -> None:
    line = 500
    store = ReceiptStore(tmp_path / "receipts.jsonl", max_bytes=20 * line)
    number = 0
    while store.add(_kept(number)):
        number += 1
    full = store.all()
    assert [each.receipt.time_ms for each in full] == list(range(number))  # the one too many was not kept
    store.proved({_kept(each).receipt.browse_id: each for each in range(3, 9)})
    assert store.add(_kept(number))
    left = [each.receipt.time_ms for each in store.all()]
    assert left[:4] == [0, 1, 2, left[3]]
    assert left[3] > 3  # the oldest proved ones went
    assert left[-1] == number
