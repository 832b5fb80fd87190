"""Our own witness without sockets: its HTTP application on a real database file."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace import key_changes
from goodstrace.checkpoint import open_checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.errors import KeyChangeError
from goodstrace.key_changes import KeyChange
from goodstrace.merkle import root_of
from goodstrace.note import Signature, Signer, parse_note, sign_note
from goodstrace.witnessing import MAX_REQUEST_BYTES, AddCheckpoint, Cosigned, parse_cosignatures
from services.witness import evidence
from services.witness.api import make_app
from services.witness.errors import StoreError, WitnessKeyError
from services.witness.evidence import Evidence
from services.witness.keys import Folder, open_folder
from services.witness.metrics import WitnessMetrics
from services.witness.service import Witness
from services.witness.store import Store, origin_hash
from services.witness.trust import Trust
from tests.witness_requests import FORKED, LOG, TRUE, asking, note_of

STRANGER_OF_LOG = Signer(LOG.name, bytes([2] * 32))
STRANGER = Signer("example.com/x", bytes([1] * 32))
NOW_S = 1_700_000_000


class Running:
    """A witness on a folder of its own, asked through its application."""

    def __init__(self, folder: Path) -> None:
        self.folder = Folder(folder)
        self.registry = CollectorRegistry()
        self.now_s = NOW_S
        metrics = WitnessMetrics(self.registry)
        self.cosigner, self.store = open_folder(self.folder, "witness.example/1")
        self.trust = Trust([LOG.verifier], [], metrics)
        log = structlog.stdlib.get_logger()
        self.witness = Witness(
            self.cosigner, self.store, self.trust, Evidence(self.folder.evidence), now_s=lambda: self.now_s,
            metrics=metrics, log=log,
        )  # fmt: skip
        app = make_app(self.witness, metrics, log, prefix="/w", body_timeout_s=0.2)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://witness/w")

    async def ask(self, *arguments: Any) -> httpx.Response:
        return await self.http.post("/add-checkpoint", content=asking(*arguments).encode())

    def time_of(self, answer: httpx.Response, text: str) -> int:
        assert answer.status_code == 200, answer.text
        (signature,) = parse_cosignatures(answer.content)
        return self.cosigner.verifier.verify(signature, text)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"goodstrace_witness_{name}", labels) or 0


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "witness")
    yield running
    running.witness.close()


async def test_a_growing_log_is_cosigned_and_shown(running: Running) -> None:
    shown = f"/{origin_hash(LOG.name)}/checkpoint"
    assert (await running.http.get(shown)).status_code == 404
    for old, new in [(0, 3), (3, 3), (3, 8), (8, 40)]:
        answer = await running.ask(old, new)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        text = parse_note(note_of(new)).text
        assert running.time_of(answer, text) == NOW_S
        seen = await running.http.get(shown)
        assert seen.text == f"{note_of(new)}{answer.text}"
    assert open_checkpoint(seen.text, [LOG.verifier]).size == 40
    assert running.count("requests_total", code="200") == 4
    assert running.count("last_cosigned_timestamp_seconds") == NOW_S


async def test_another_size_is_answered_with_ours(running: Running) -> None:
    await running.ask(0, 8)
    answer = await running.ask(0, 9)
    assert (answer.status_code, answer.text) == (409, "8\n")
    assert answer.headers["content-type"] == "text/x.tlog.size"
    assert (await running.ask(9, 12)).text == "8\n"
    assert (await running.ask(8, 12)).status_code == 200


async def test_what_is_refused(running: Running) -> None:
    await running.ask(0, 8)
    assert (await running.ask(0, 9, TRUE, STRANGER)).status_code == 404
    assert (await running.ask(9, 8)).status_code == 400
    good = asking(8, 9).encode()
    for status, body in [
        (400, b""),
        (400, good[:-1]),
        (403, good.replace(b"\n9\n", b"\n7\n")),
        (413, bytes(MAX_REQUEST_BYTES + 1)),
        (422, good.replace(b"old 8\n", b"old 8\n" + b"A" * 43 + b"=\n")),
    ]:
        answer = await running.http.post("/add-checkpoint", content=body)
        assert answer.status_code == status, answer.text
        assert answer.text.endswith("\n")
    for path in ("/", "/nothing", "/" + "0" * 64 + "/checkpoint", "/x/checkpoint"):
        assert (await running.http.get(path)).status_code == 404
    assert (await running.http.get("/add-checkpoint")).status_code == 405
    assert running.store.cosigned(LOG.name) == Cosigned(8, root_of(TRUE[:8]))


async def test_a_body_that_does_not_come_is_given_up(running: Running) -> None:
    async def never() -> Any:
        yield b"old 0\n"
        await asyncio.Event().wait()

    answer = await running.http.post("/add-checkpoint", content=never())
    assert answer.status_code == 408


async def test_a_fork_is_never_signed_and_both_notes_are_kept(running: Running) -> None:
    answered = await running.ask(0, 8)
    for request, status, kind in [
        ((8, 8, FORKED), 422, "fork"),
        ((0, 8, FORKED), 409, "fork"),
        ((8, 9, FORKED), 422, "inconsistent"),
    ]:
        before = running.count("suspicions_total", kind=kind)
        assert (await running.ask(*request)).status_code == status
        assert running.count("suspicions_total", kind=kind) == before + 1
    fork, inconsistent = Evidence(running.folder.evidence).cases()
    assert fork.name.startswith("fork-")
    assert fork.read_text() == note_of(8, FORKED)
    assert inconsistent.read_text() == note_of(9, FORKED)
    cosigned = fork.with_name(fork.name.replace("offered", "cosigned")).read_text()
    assert cosigned == f"{note_of(8)}{answered.text}"
    roots = {open_checkpoint(note, [LOG.verifier]).root for note in (cosigned, fork.read_text())}
    assert len(roots) == 2  # one key, one size, two roots: anybody can check it
    assert running.store.cosigned(LOG.name) == Cosigned(8, root_of(TRUE[:8]))


async def test_evidence_has_a_limit_and_room_for_forks(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MAX_KEPT", 3)
    await running.ask(0, 8)
    for size in range(9, 20):
        assert (await running.ask(8, size, FORKED)).status_code == 422
        assert (await running.ask(8, size, FORKED)).status_code == 422
    assert (await running.ask(8, 8, FORKED)).status_code == 422
    names = [path.name for path in Evidence(running.folder.evidence).cases()]
    assert sorted(name.partition("-")[0] for name in names) == ["fork", *["inconsistent"] * 3]


async def test_evidence_is_not_multiplied_by_signatures_that_anybody_can_add(running: Running) -> None:
    await running.ask(0, 8)
    for number in range(3):
        junk = Signature(f"junk-{number}", b"\0" * 4, b"\0" * 1000).line()
        body = AddCheckpoint(8, (), note_of(9) + junk).encode()
        assert (await running.http.post("/add-checkpoint", content=body)).status_code == 422
    (case,) = Evidence(running.folder.evidence).cases()
    assert case.read_text() == note_of(9)


async def test_evidence_that_has_no_room_is_in_the_log(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can fill the room with public checkpoints and wrong proofs, and the log may fork after that."""
    monkeypatch.setattr(evidence, "MAX_KEPT", 1)
    await running.ask(0, 8)
    await running.ask(8, 9, FORKED)
    with structlog.testing.capture_logs() as told:
        await running.ask(8, 10, FORKED)
    assert [event.get("note") for event in told if event["log_level"] == "error"] == [note_of(10, FORKED)]


async def test_what_a_stranger_calls_its_log_is_not_logged_at_length(running: Running) -> None:
    stranger = Signer("x" * 1000, bytes(32))
    note = sign_note(f"{'x' * 100_000}\n1\nAAAA\n", [stranger]).encode()
    with structlog.testing.capture_logs() as told:
        answer = await running.http.post("/add-checkpoint", content=AddCheckpoint(0, (), note).encode())
    assert answer.status_code == 404
    assert len(str(told)) < 1000


async def test_evidence_that_cannot_be_kept_changes_no_answer(running: Running) -> None:
    running.folder.evidence.write_text("no folder")
    await running.ask(0, 8)
    assert (await running.ask(8, 8, FORKED)).status_code == 422


async def test_the_time_never_goes_back(running: Running) -> None:
    times = []
    for size, now_s in [(1, NOW_S), (2, NOW_S - 3600), (2, 0), (3, -5), (4, NOW_S + 1)]:
        running.now_s = now_s
        answer = await running.ask(running.store.cosigned(LOG.name).size, size)
        times.append(running.time_of(answer, parse_note(note_of(size)).text))
    assert times == [NOW_S, NOW_S, NOW_S, NOW_S, NOW_S + 1]


async def test_on_a_full_disk_nothing_is_signed(running: Running) -> None:
    """SQLite itself says that the disk is full: its limit of pages raises the same error as ENOSPC."""
    database = running.store._database
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")
    extension = "x" * 60_000 + "\n"

    def long(size: int) -> bytes:
        note = sign_note(parse_note(note_of(size)).text + extension, [LOG]).encode()
        return AddCheckpoint(0, (), note).encode()

    answer = await running.http.post("/add-checkpoint", content=long(8))
    assert answer.status_code == 503
    assert "—" not in answer.text
    assert answer.headers["retry-after"]
    assert running.store.cosigned(LOG.name) == Cosigned()
    database.execute("PRAGMA max_page_count = 100000")
    assert (await running.http.post("/add-checkpoint", content=long(8))).status_code == 200


async def test_a_store_that_another_process_holds_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    running = Running(tmp_path / "witness")
    running.store._database.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(running.folder.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert (await running.ask(0, 8)).status_code == 503
    other.execute("ROLLBACK")
    other.close()
    assert (await running.ask(0, 8)).status_code == 200
    running.witness.close()


def test_only_one_of_two_processes_replaces_what_was_cosigned(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "db"), Store(tmp_path / "db")
    eight, nine = Cosigned(8, root_of(TRUE[:8])), Cosigned(9, root_of(TRUE[:9]))
    forked = Cosigned(8, root_of(FORKED[:8]))
    assert first.advance("log", Cosigned(), eight, "note", 7) == 7
    assert second.advance("log", Cosigned(), nine, "note", 7) is None  # from nothing, as it saw before
    assert second.advance("log", forked, nine, "note", 7) is None  # the same size, another root
    assert second.advance("log", eight, nine, "note", 7) == 7
    assert first.cosigned("log") == nine
    assert first.advance("log", eight, eight, "note", 7) is None
    first.close()
    second.close()
    reopened = Store(tmp_path / "db")
    assert reopened.cosigned("log") == nine
    assert reopened.sizes() == {"log": 9}
    reopened.close()


async def test_a_request_that_another_overtook_is_judged_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race of the specification: checked for 5 -> 6, while 5 -> 9 is stored in between."""
    await running.ask(0, 5)
    advance: Callable[..., int | None] = running.store.advance

    def overtaken(*arguments: Any) -> int | None:
        monkeypatch.undo()
        other = Store(running.folder.database)
        nine = Cosigned(9, root_of(TRUE[:9]))
        other.advance(LOG.name, Cosigned(5, root_of(TRUE[:5])), nine, note_of(9), NOW_S)
        other.close()
        return advance(*arguments)

    monkeypatch.setattr(running.store, "advance", overtaken)
    answer = await running.ask(5, 6)
    assert (answer.status_code, answer.text) == (409, "9\n")
    assert running.store.cosigned(LOG.name).size == 9


def test_a_database_that_is_damaged_or_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        Store(tmp_path / "damaged")
    with pytest.raises(StoreError):
        Store(tmp_path / "no folder" / "db")
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 3")
    newer.close()
    with pytest.raises(StoreError, match="version 3"):
        Store(tmp_path / "newer")


def change_of_key(old: Signer, new: Signer, size: int) -> KeyChange:
    return key_changes.sign(
        log="goods/0", height=size, size=size, previous="ab" * 32, time=size, old=old, new=new
    )


def test_changes_of_keys_are_remembered_and_not_taken_back(tmp_path: Path) -> None:
    keys = [LOG, *(Signer(LOG.name, bytes([number]) * 32) for number in range(1, 4))]
    first, second = change_of_key(keys[0], keys[1], 5), change_of_key(keys[1], keys[2], 9)
    older = Store(tmp_path / "db")
    older._database.execute("DROP TABLE changed")  # as the version before had it
    older._database.execute("PRAGMA user_version = 1")
    older.close()
    store, other = Store(tmp_path / "db", create=False), Store(tmp_path / "db", create=False)
    assert store.changed() == {}
    assert store.follow(LOG.name, [first]) == (first,)
    assert other.follow(LOG.name, [first, second]) == (first, second)
    assert store.follow(LOG.name, [first]) == (first, second)
    for heir in (change_of_key(keys[0], keys[3], 6), change_of_key(keys[1], keys[3], 10)):
        with pytest.raises(KeyChangeError, match="other changes of the key"):
            store.follow(LOG.name, [heir])
    store.close()
    other.close()
    reopened = Store(tmp_path / "db")
    assert reopened.changed() == {LOG.name: (first, second)}
    reopened.close()


async def test_after_a_change_each_key_signs_the_sizes_of_its_time(running: Running) -> None:
    new = Signer(LOG.name, bytes([7]) * 32)
    assert (await running.ask(0, 5, TRUE, new)).status_code == 403
    assert (await running.ask(0, 5)).status_code == 200
    running.trust.follow(LOG.name, [change_of_key(LOG, new, 8)])
    assert (await running.ask(5, 7, TRUE, new)).status_code == 403
    assert (await running.ask(5, 7)).status_code == 200, (
        "a round that was begun before the change is finished"
    )
    assert (await running.ask(7, 9)).status_code == 403
    assert (await running.ask(7, 9, TRUE, new)).status_code == 200
    running.trust.follow(LOG.name, [change_of_key(STRANGER_OF_LOG, new, 8)])
    assert running.trust.keys(LOG.name) == (LOG.verifier,), "it does not go by the operator's key"


class TestFolder:
    def opened(self, folder: Folder, name: str | None = None) -> Cosigner:
        cosigner, store = open_folder(folder, name)
        store.close()
        return cosigner

    def test_a_key_is_made_once_and_only_its_owner_reads_it(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "a" / "b")
        with pytest.raises(WitnessKeyError, match="--name"):
            self.opened(folder)
        made = self.opened(folder, "witness.example/1")
        assert self.opened(folder).verifier == made.verifier
        assert folder.key.stat().st_mode & 0o777 == 0o600
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert folder.vkey.read_text() == made.verifier.vkey() + "\n"
        with pytest.raises(WitnessKeyError, match="another name"):
            self.opened(folder, "witness.example/2")
        folder.vkey.unlink()
        with pytest.raises(WitnessKeyError, match="--name"):
            self.opened(folder)
        assert self.opened(folder, "witness.example/1").verifier == made.verifier

    def test_a_key_without_its_memory_is_not_used(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "w")
        self.opened(folder, "witness.example/1")
        folder.database.unlink()
        with pytest.raises(WitnessKeyError, match="rollback"):
            self.opened(folder)
        assert not folder.database.exists()

    def test_a_key_beside_an_empty_memory_is_not_used(self, tmp_path: Path) -> None:
        """As a file system may leave the file after a crash: the key was made after the memory, so it had one."""
        folder = Folder(tmp_path / "w")
        self.opened(folder, "witness.example/1")
        folder.database.write_bytes(b"")
        for _ in range(2):
            with pytest.raises(StoreError, match="rollback"):
                self.opened(folder)

    def test_a_memory_without_its_key_gets_no_other_key(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "w")
        _, store = open_folder(folder, "witness.example/1")
        store.advance("log", Cosigned(), Cosigned(8, bytes(32)), "note", 7)
        store.close()
        folder.key.unlink()
        with pytest.raises(WitnessKeyError, match="bring the key back"):
            self.opened(folder, "witness.example/1")

    @pytest.mark.parametrize("text", ["", "zz", "00" * 31])
    def test_a_malformed_key_is_not_shown(self, tmp_path: Path, text: str) -> None:
        folder = Folder(tmp_path / "w")
        self.opened(folder, "witness.example/1")
        folder.key.write_text(text)
        with pytest.raises(WitnessKeyError, match="is not 32 bytes") as refused:
            self.opened(folder)
        assert not text or text not in str(refused.value)

    def test_a_key_open_to_others_is_refused(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "w")
        self.opened(folder, "witness.example/1")
        folder.key.chmod(0o640)
        with pytest.raises(WitnessKeyError, match="mode 600"):
            self.opened(folder)
        folder.key.chmod(0o600)
        folder.path.chmod(0o750)
        with pytest.raises(WitnessKeyError, match="mode 700"):
            self.opened(folder)

    def test_a_name_that_cannot_be_one_makes_nothing(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "w")
        with pytest.raises(WitnessKeyError):
            self.opened(folder, "a name")
        assert not folder.key.exists()


def test_the_operators_keys_come_before_learned_ones() -> None:
    metrics = WitnessMetrics(CollectorRegistry())
    next_key = Signer(LOG.name, bytes([7] * 32)).verifier
    learned = Signer(LOG.name, bytes([8] * 32)).verifier
    trust = Trust([LOG.verifier, next_key], [learned, STRANGER.verifier], metrics)
    assert trust.keys(LOG.name) == (LOG.verifier, next_key)
    assert trust.keys(STRANGER.name) == (STRANGER.verifier,)
    assert trust.keys("unknown") == ()
    assert trust.origins() == [LOG.name, STRANGER.name]
