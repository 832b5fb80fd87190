"""`goodstrace browses --mine --verify`: every kept receipt is checked, and one that is not kept to is told loudly."""

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from goodstrace.browse_records import Browses
from goodstrace.cli import browses as command
from goodstrace.cli import own_receipts
from goodstrace.entry import Entry, Kind, TagsCommitment
from goodstrace.errors import QuorumError, UnknownLogError, VerificationError
from goodstrace.merkle import EMPTY_ROOT
from goodstrace.receipt_store import Kept, ReceiptStore
from goodstrace.receipts import BrowseProof, Receipt, Standing
from goodstrace.verification import VerifiedEntry

TARGET = "127.0.0.1:1"
ENTRY = Entry("aa" * 16, Kind.BROWSE, 0, (), TagsCommitment(n=0, root=EMPTY_ROOT.hex()), 1)


class Service:
    """A client of a service that denies some looks."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.error: VerificationError | None = None
        self.asked: list[dict[str, Any]] = []

    def browse_proof(self, receipt: Receipt, *, within_s: float, received_ms: int | None) -> BrowseProof:
        assert within_s == 60
        self.received_ms = received_ms
        if self.error is not None and receipt.browse_id not in self.denied:
            raise self.error
        if receipt.browse_id in self.denied:
            return BrowseProof(receipt, Standing.MISSING, None)
        return BrowseProof(receipt, Standing.SEALED, None, VerifiedEntry(receipt.log, 5, ENTRY, {}, ()))

    def browses(self, **asked: Any) -> Browses:
        self.asked.append(asked)
        return Browses((), {}, ())


@pytest.mark.parametrize("denied", [False, True])
def test_the_exit_status_says_whether_all_receipts_are_kept_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, denied: bool
) -> None:
    service, store = Service(), ReceiptStore(tmp_path / "receipts.jsonl")
    for number in range(3):
        receipt = Receipt(f"{number:032x}", bytes(32), "browse/0", time.time_ns() // 1_000_000)
        assert store.add(Kept(TARGET if number < 2 else "elsewhere:1", receipt))
    service.denied |= {f"{1:032x}"} if denied else set()
    monkeypatch.setattr(command, "connect", lambda **_: nullcontext(service))
    monkeypatch.setattr(command, "own_name", lambda *_: "ann")
    monkeypatch.setattr(own_receipts, "signing_keys", lambda _: {})
    options = ["--mine", "--verify", "--query", TARGET, "--memory", str(tmp_path / "checkpoints.json")]
    told = CliRunner().invoke(command.browses, options)
    assert told.exit_code == int(denied), told.output
    assert ("cannot show them in its log" in told.output) is denied
    assert f"2 receipts: {1 if denied else 2} sealed, 0 not sealed yet, {int(denied)} broken" in told.output
    assert service.asked[0]["user"] == "ann"
    assert [each.index for each in store.all()] == [5, None if denied else 5, None]
    document = json.loads(CliRunner().invoke(command.browses, [*options, "--json"]).output)
    assert [each["standing"] for each in document["receipts"]] == [
        "sealed",
        "missing" if denied else "sealed",
    ]


@pytest.mark.parametrize(
    "error",
    [UnknownLogError("no trusted key for the log 'browse/2'"), QuorumError("lacks the policy's quorum")],
)
@pytest.mark.parametrize("denied", [False, True])
def test_what_is_not_trusted_here_is_no_broken_word_and_hides_none(
    error: VerificationError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, denied: bool
) -> None:
    service, store = Service(), ReceiptStore(tmp_path / "receipts.jsonl")
    service.error = error
    for number in range(2):
        receipt = Receipt(f"{number:032x}", bytes(32), "browse/2", time.time_ns() // 1_000_000)
        assert store.add(Kept(TARGET, receipt))
    service.denied |= {f"{1:032x}"} if denied else set()
    monkeypatch.setattr(command, "connect", lambda **_: nullcontext(service))
    monkeypatch.setattr(command, "own_name", lambda *_: "ann")
    monkeypatch.setattr(own_receipts, "signing_keys", lambda _: {})
    options = ["--mine", "--verify", "--query", TARGET, "--memory", str(tmp_path / "checkpoints.json")]
    told = CliRunner().invoke(command.browses, options)
    assert told.exit_code == 1
    assert f"not checked: {error}" in told.output
    assert ("cannot show them in its log" in told.output) is denied
    said = f"0 sealed, 0 not sealed yet, {int(denied)} broken, {1 if denied else 2} not checked"
    assert f"2 receipts: {said}" in told.output
    receipts = json.loads(CliRunner().invoke(command.browses, [*options, "--json"]).output)["receipts"]
    assert [each["standing"] for each in receipts] == [None, "missing" if denied else None]
    assert [each["unchecked"] for each in receipts] == [str(error), "" if denied else str(error)]


def test_the_time_of_arrival_is_kept_and_the_proof_demanded_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denied look whose receipt is dated a year ahead is missing after a minute."""
    store, service = ReceiptStore(tmp_path / "receipts.jsonl"), Service()
    before_ms = time.time_ns() // 1_000_000
    ahead = Receipt("cc" * 16, bytes(32), "browse/0", before_ms + 365 * 86_400_000)
    own_receipts.keeper(store, TARGET)(ahead)
    [kept] = store.all()
    assert kept.received_ms is not None
    assert before_ms <= kept.received_ms <= time.time_ns() // 1_000_000
    monkeypatch.setattr(own_receipts, "signing_keys", lambda _: {})
    service.error = QuorumError("lacks the policy's quorum")
    monkeypatch.setattr(own_receipts.time, "time", lambda: before_ms / 1000 + 30)
    [young] = own_receipts.check_kept(service, store, TARGET, 60)  # type: ignore[arg-type]
    monkeypatch.setattr(own_receipts.time, "time", lambda: before_ms / 1000 + 90)
    [late] = own_receipts.check_kept(service, store, TARGET, 60)  # type: ignore[arg-type]
    assert (young.is_broken, late.is_broken, late.standing) == (False, True, Standing.MISSING)
    assert service.received_ms == kept.received_ms
    assert own_receipts.as_document([late])[0]["received_ms"] == kept.received_ms


def test_verify_is_of_ones_own_receipts() -> None:
    told = CliRunner().invoke(command.browses, ["KEY", "--verify"])
    assert told.exit_code == 2
    assert "--mine" in told.output
