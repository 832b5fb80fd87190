"""A client that trusts a log's old key: it follows honest changes, remembers them, and is led nowhere else."""

from pathlib import Path

import pytest

from goodstrace import key_changes, key_following
from goodstrace.errors import KeyChangeError, NoteError, RollbackError
from goodstrace.log_keys import LogKeys
from goodstrace.memory import FileMemory
from goodstrace.note import Signer
from goodstrace.query.v1 import trace_pb2
from tests.unit.fake_services import ClientOf, FakeLog, FakeServices

LOG = "browse/0"


@pytest.fixture
def log(services: FakeServices) -> FakeLog:
    return services.logs[LOG]


def vkeys(services: FakeServices) -> list[str]:
    return [each.signer.verifier.vkey() for each in services.logs.values()]


def fetched(services: FakeServices) -> int:
    return sum(isinstance(each, trace_pb2.GetKeyChangesRequest) for each in services.requests)


def test_changes_are_followed_from_the_trusted_key_and_asked_for_once(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    client = client_of(services.keys())
    client.checkpoints()
    for number in range(1, 4):
        log.change_key()
        assert client.checkpoints()[LOG].checkpoint.size == log.size, "what the old key signed is good still"
        log.append_browses(2)
        for _ in range(2):
            assert client.checkpoints()[LOG].checkpoint.size == log.size
        assert fetched(services) == number
    assert len(client.browses(user="someone").entries) == log.size


def test_several_changes_at_once_and_a_key_in_the_middle(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    pinned = [services.keys()]
    for _ in range(3):
        log.change_key()
        log.append_browses(1)
        pinned.append(services.keys())
    for keys in pinned:
        assert client_of(keys).checkpoints()[LOG].checkpoint.size == log.size


def test_what_was_followed_is_remembered_and_the_retired_key_signs_nothing_more(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    memory = FileMemory(tmp_path / "memory.json")
    retired, trusted = log.signer, vkeys(services)
    log.change_key()
    log.append_browses(2)
    client_of(LogKeys.parse(trusted), memory=memory).checkpoints()
    honest = log.signer
    log.append_browses(1)
    log.signer = retired
    for keys in (LogKeys.parse(trusted), LogKeys.parse(trusted)):
        with pytest.raises(NoteError, match="not signed by the key of that time"):
            client_of(keys, memory=memory).checkpoints()
    log.signer = honest
    assert client_of(LogKeys.parse(trusted), memory=memory).checkpoints()[LOG].checkpoint.size == log.size


def test_an_old_checkpoint_of_the_old_key_still_counts_in_the_memory(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    memory = FileMemory(tmp_path / "memory.json")
    keys = vkeys(services)
    client_of(LogKeys.parse(keys), memory=memory).checkpoints()
    log.change_key()
    log.append_browses(2)
    services.logs[LOG] = forked = log.forked(3)
    forked.changes = log.changes
    with pytest.raises(RollbackError):
        client_of(LogKeys.parse(keys), memory=memory).checkpoints()


def test_other_changes_than_those_followed_before_are_refused(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    """What a thief of the retired key can sign: another heir. Who followed the true one before is not misled."""
    memory = FileMemory(tmp_path / "memory.json")
    keys = vkeys(services)
    thief, size = log.signer, log.size
    log.change_key()
    log.append_browses(2)
    client_of(LogKeys.parse(keys), memory=memory).checkpoints()
    heir = Signer(log.origin, b"\x77" * 32)
    log.changes = [
        key_changes.sign(log=LOG, height=1, size=size, previous="cd" * 32, time=1, old=thief, new=heir)
    ]
    log.signer = heir
    with pytest.raises(KeyChangeError, match="other changes of its key than before"):
        client_of(LogKeys.parse(keys), memory=memory).checkpoints()


def test_a_chain_that_does_not_begin_at_the_trusted_key_leads_nowhere(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    keys = services.keys()
    log.signer = Signer(log.origin, b"\x55" * 32)
    log.change_key()
    log.append_browses(1)
    with pytest.raises(KeyChangeError, match="do not go by the key that is trusted"):
        client_of(keys).checkpoints()


def test_a_service_that_names_no_changes_gets_nothing_believed(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    keys = services.keys()
    log.change_key()
    log.append_browses(1)
    log.changes = []
    with pytest.raises(NoteError):
        client_of(keys).checkpoints()


def test_a_forged_statement_is_refused(services: FakeServices, client_of: ClientOf, log: FakeLog) -> None:
    keys = services.keys()
    log.change_key()
    log.append_browses(1)
    services.altered_change = lambda change: change.replace(b'"height":1', b'"height":2')
    with pytest.raises(KeyChangeError):
        client_of(keys).checkpoints()


def test_changes_of_another_log_than_was_asked_for_are_refused(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    """They would be followed, and not be remembered: so they could be taken back."""
    keys, memory = services.keys(), FileMemory(tmp_path / "memory.json")
    log.change_key()
    log.append_browses(1)
    other = services.logs["goods/0"]
    other.change_key()
    services.altered_change = lambda _: key_changes.statement(other.changes[0])
    with pytest.raises(KeyChangeError, match="asked for the changes of browse/0 and got those of goods/0"):
        client_of(keys, memory=memory).checkpoints()
    assert not keys.changes("goods/0")


def test_more_changes_than_there_can_be_are_not_looked_at(
    services: FakeServices, client_of: ClientOf, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = services.keys()
    log.change_key()
    log.append_browses(1)
    log.changes *= key_changes.MAX_CHANGES + 1
    monkeypatch.setattr(key_following, "parse", lambda _: pytest.fail("each costs two signatures to verify"))
    with pytest.raises(KeyChangeError, match="over 256 changes"):
        client_of(keys).checkpoints()


def test_a_folder_of_the_operator_has_the_changes_beside_the_keys(
    services: FakeServices, log: FakeLog, tmp_path: Path
) -> None:
    first = log.checkpoint()
    old = log.signer.verifier
    log.change_key()
    log.append_browses(1)
    (tmp_path / "browse-0.vkey").write_text(log.signer.verifier.vkey() + "\n")
    (tmp_path / "browse-0.1.vkey").write_text(old.vkey() + "\n")
    with pytest.raises(NoteError):
        LogKeys.load(tmp_path).open(LOG, first.note)
    lines = b"".join(key_changes.statement(change) + b"\n" for change in log.changes)
    (tmp_path / "browse-0.changes").write_bytes(lines)
    keys = LogKeys.load(tmp_path)
    assert keys.open(LOG, first.note).size + 1 == keys.open(LOG, log.checkpoint().note).size
    assert keys.verifier(LOG, 5) == old
    assert keys.verifier(LOG) == keys.verifier(LOG, 6) == log.signer.verifier
    (tmp_path / "browse-0.vkey").write_text(old.vkey() + "\n")  # pinned before the change
    assert LogKeys.load(tmp_path).verifier(LOG) == log.signer.verifier
    (tmp_path / "browse-0.changes").write_bytes(lines.replace(b'"time":1', b'"time":2'))
    with pytest.raises(KeyChangeError):
        LogKeys.load(tmp_path)


def rebuilt(log: FakeLog) -> None:
    """Make a log's store anew from Kafka: the key in force has signed all of it, and no statement is of before."""
    log.changes, log.retired = [], []


def test_who_followed_a_change_follows_the_first_one_after_the_store_was_made_anew(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    memory, trusted, retired = FileMemory(tmp_path / "memory.json"), vkeys(services), [log.signer]
    log.change_key()
    log.append_browses(2)
    client_of(LogKeys.parse(trusted), memory=memory).checkpoints()
    rebuilt(log)
    log.append_browses(1)
    assert client_of(LogKeys.parse(trusted), memory=memory).checkpoints()[LOG].checkpoint.size == log.size
    for _ in range(2):
        retired.append(log.signer)
        log.change_key()  # its heights begin anew: the blocks were cut otherwise
        log.append_browses(2)
        for _ in range(2):
            found = client_of(LogKeys.parse(trusted), memory=memory).checkpoints()
            assert found[LOG].checkpoint.size == log.size
    honest, changes = log.signer, log.changes
    log.append_browses(1)
    for thief in retired:
        heir = Signer(log.origin, b"\x77" * 32)
        stolen = key_changes.sign(
            log=LOG, height=9, size=log.size - 1, previous="cd" * 32, time=9, old=thief, new=heir
        )
        log.signer, log.changes = heir, [stolen]
        with pytest.raises(KeyChangeError, match="other changes of its key than before"):
            client_of(LogKeys.parse(trusted), memory=memory).checkpoints()
    log.signer, log.changes = honest, changes
    assert client_of(LogKeys.parse(trusted), memory=memory).checkpoints()[LOG].checkpoint.size == log.size


def test_who_is_given_the_key_of_a_store_made_anew_keeps_what_is_remembered(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    memory, trusted = FileMemory(tmp_path / "memory.json"), vkeys(services)
    client_of(LogKeys.parse(trusted), memory=memory).checkpoints()
    log.change_key()  # which this client never met
    log.append_browses(2)
    rebuilt(log)
    with pytest.raises(NoteError):
        client_of(LogKeys.parse(trusted), memory=memory).checkpoints()
    log.change_key()
    log.append_browses(1)
    with pytest.raises(KeyChangeError, match="get its vkey anew from its operator"):
        client_of(LogKeys.parse(trusted), memory=memory).checkpoints()
    anew = vkeys(services)
    services.logs[LOG] = log.forked(3)
    with pytest.raises(RollbackError):
        client_of(LogKeys.parse(anew), memory=memory).checkpoints()
    services.logs[LOG] = log
    assert client_of(LogKeys.parse(anew), memory=memory).checkpoints()[LOG].checkpoint.size == log.size


def test_who_is_given_a_later_key_keeps_what_the_key_before_signed(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    memory = FileMemory(tmp_path / "memory.json")
    client_of(services.keys(), memory=memory).checkpoints()
    log.change_key()
    log.append_browses(1)
    assert client_of(services.keys(), memory=memory).checkpoints()[LOG].checkpoint.size == log.size
