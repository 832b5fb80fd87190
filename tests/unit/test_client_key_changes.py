"""A client that trusts a log's old key: it follows honest changes, remembers them, and is led nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from goodstrace import key_changes, key_following, trusted_checkpoints
from goodstrace.cli.main import cli
from goodstrace.errors import AnswerError, KeyChangeError, NoteError, RollbackError
from goodstrace.log_keys import LogKeys
from goodstrace.memory import FileMemory
from goodstrace.note import Signer
from goodstrace.proof_file import ProofFile
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


def thief_of(log: FakeLog, size: int) -> FakeLog:
    """What whoever has the retired key serves: invented entries under it, no more than the log had, beside the genuine statement."""
    thief = FakeLog(log.name)
    thief.signer, thief.changes, thief.retired = log.signer, log.changes, log.retired
    thief.append_browses(size)
    return thief


def newest_asked(services: FakeServices) -> int:
    return sum(isinstance(each, trace_pb2.GetCheckpointRequest) for each in services.requests)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse without waiting for what an honest service publishes in a moment."""
    monkeypatch.setattr(trusted_checkpoints, "IN_FORCE_WITHIN_S", 0)


def test_the_first_checkpoint_of_a_new_key_is_waited_for(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    """The statement of a change is stored a moment before the checkpoint is published."""
    log.change_key()
    keys, size = LogKeys(services.keys()), log.size

    def altered(answer: Any) -> None:
        if newest_asked(services) == 3 and log.size == size:
            log.append_browses(1)

    services.altered = altered
    assert client_of(keys).checkpoints()[LOG].checkpoint.size == size
    assert newest_asked(services) == 4


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("short_of_the_change", [0, 1])
def test_a_retired_key_forges_nothing_for_who_was_given_a_later_one(
    services: FakeServices, client_of: ClientOf, log: FakeLog, short_of_the_change: int
) -> None:
    log.change_key()
    log.append_browses(3)
    later = services.keys()
    services.logs[LOG] = thief_of(log, log.changes[0].size - short_of_the_change)
    for ask in (
        lambda client: client.checkpoints(),
        lambda client: client.browses(user="someone"),
        lambda client: client.proof_file(LOG, 0),
    ):
        client = client_of(LogKeys(later))
        with pytest.raises(
            AnswerError, match="signed by a retired key, and the service shows none of the key in force"
        ):
            ask(client)
        with pytest.raises(AnswerError, match="signed by a retired key"):  # nothing of it was remembered
            ask(client)


def test_a_retired_key_forges_nothing_beside_the_true_newest_checkpoint(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    log.change_key()
    log.append_browses(3)
    later, true = services.keys(), log.checkpoint()
    services.logs[LOG] = thief_of(log, 4)

    def altered(answer: Any) -> None:
        if isinstance(answer, trace_pb2.GetCheckpointResponse):
            for each in answer.checkpoints:
                each.note = true.note if each.log == LOG else each.note

    services.altered = altered
    client = client_of(LogKeys(later))
    for _ in range(2):
        with pytest.raises(RollbackError):
            client.proof_file(LOG, 0)
    assert client.checkpoints()[LOG].checkpoint.size == log.size


def test_what_a_retired_key_signed_of_the_log_is_good_and_costs_one_call_once(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    for _ in range(2):
        log.change_key()
        log.append_browses(2)
    client = client_of(services.keys())
    for size in (3, 5, 6, 7):
        assert client.proof_file(LOG, 1, size)[1].by_retired_key
    assert newest_asked(services) == 1
    assert not client.proof_file(LOG, 1)[1].by_retired_key


@pytest.mark.usefixtures("at_once")
def test_a_forgery_remembered_before_the_change_was_followed_ties_nothing(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    """A client that pinned the old key was shown a longer one; given the later key, it is told of both."""
    memory, old, retired = FileMemory(tmp_path / "memory.json"), vkeys(services), log.signer
    log.change_key()
    log.append_browses(3)
    later = vkeys(services)
    longer = FakeLog(LOG)
    longer.signer = retired
    longer.append_browses(log.size + 5)
    services.logs[LOG] = longer
    client_of(LogKeys.parse(old), memory=memory).checkpoints()
    longer.changes, longer.retired = log.changes, [retired]
    with pytest.raises(AnswerError, match="signed by a retired key"):
        client_of(LogKeys.parse(later), memory=memory).proof_file(LOG, 0, 3)


@pytest.mark.parametrize("beside", [(), ("--vkey", FakeLog("goods/9").signer.verifier.vkey())])
def test_offline_a_retired_keys_checkpoint_is_said_to_be_one(
    services: FakeServices, log: FakeLog, tmp_path: Path, beside: tuple[str, ...]
) -> None:
    """Nothing in the file tells the log's own from an invented one. A key trusted beside the folder's changes nothing of it."""
    log.change_key()
    log.append_browses(2)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "browse-0.vkey").write_text(log.signer.verifier.vkey() + "\n")
    (keys / "browse-0.changes").write_bytes(
        b"".join(key_changes.statement(each) + b"\n" for each in log.changes)
    )
    for number, (of, size) in enumerate([(log, 3), (thief_of(log, 3), 3), (log, log.size)]):
        sealed, note = of.sealed(1, size), of.checkpoint(size).note
        file = tmp_path / f"{number}.tlog-proof"
        file.write_text(ProofFile(1, tuple(sealed.inclusion_proof), note, sealed.entry).encode())
        asked = ["verify", str(file), "--vkeys", str(keys), *beside]
        environment = {"GOODSTRACE_LOG_KEYS": "", "GOODSTRACE_POLICY": ""}
        [said] = json.loads(CliRunner().invoke(cli, [*asked, "--json"], env=environment).output)["files"]
        assert (said["verified"], said["by_retired_key"]) == (True, number < 2)
        shown = CliRunner().invoke(cli, asked, env=environment).output
        assert ("signed by a retired key" in shown) is (number < 2)
