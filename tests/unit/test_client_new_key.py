"""A client that was given a later key, before a checkpoint of it is published: witnesses may take long, and a thief is no witness."""

from collections.abc import Callable
from typing import Any

import pytest

from goodstrace import block as blocks
from goodstrace import key_changes, trusted_checkpoints
from goodstrace.client import Client
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, KeyChangeError, RollbackError
from goodstrace.key_changes import KeyChange, tree_found
from goodstrace.log_keys import LogKeys
from goodstrace.memory import VolatileMemory
from goodstrace.note import Signer
from goodstrace.query.v1 import trace_pb2
from tests.unit.fake_services import ClientOf, FakeLog, FakeServices
from tests.unit.test_client_key_changes import thief_of

LOG = "browse/0"
ASKED: list[Callable[[Client], Any]] = [
    lambda client: client.checkpoints(),
    lambda client: client.browses(user="someone"),
    lambda client: client.proof_file(LOG, 0),
]


@pytest.fixture
def log(services: FakeServices, monkeypatch: pytest.MonkeyPatch) -> FakeLog:
    """A log whose key has changed, and nothing that the new key signed is published; nobody waits for it."""
    monkeypatch.setattr(trusted_checkpoints, "IN_FORCE_WITHIN_S", 0)
    log = services.logs[LOG]
    log.append_browses(3)
    for _ in range(2):
        log.append_browses(1)
        log.change_key()
    services.previous_header = log.found
    return log


@pytest.mark.parametrize("ask", ASKED)
def test_what_the_new_key_found_is_answered_from(
    services: FakeServices, client_of: ClientOf, log: FakeLog, ask: Callable[[Client], Any]
) -> None:
    memory = VolatileMemory()
    client = client_of(LogKeys(services.keys()), memory=memory)
    ask(client)
    for size in range(1, log.size + 1):
        assert client.proof_file(LOG, 0, size)[1].by_retired_key
    log.append_browses(2)
    assert client.checkpoints()[LOG].checkpoint.size == log.size
    services.requests.clear()
    assert client.proof_file(LOG, 0, 1)[1].by_retired_key  # growth to what is remembered, of the key in force
    assert not any(isinstance(each, trace_pb2.GetKeyChangesRequest) for each in services.requests)


def test_a_key_that_changed_again_since_is_followed_to_what_the_newest_found(
    services: FakeServices, client_of: ClientOf, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that either of the newest two signed is published, as while witnesses are away: no checkpoint leads to the last."""
    published, of_size = log.size, log.checkpoint
    monkeypatch.setattr(log, "checkpoint", lambda size=None: of_size(published if size is None else size))
    client = client_of(LogKeys(services.keys()))
    client.checkpoints()
    log.append_browses(1)
    log.change_key()
    services.previous_header = log.found
    assert client.proof_file(LOG, 0, 1)[1].by_retired_key


def invented(log: FakeLog, size: int) -> FakeLog:
    """What whoever has the retired keys makes up; the statements and proofs of growth that he shows are the genuine ones."""
    thief = thief_of(log, 0)
    thief.append(Kind.BROWSE, {"who": b"{}"})
    thief.append_browses(size - 1)
    thief.consistency = log.consistency  # type: ignore[method-assign]
    return thief


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("short_of_the_change", [0, 1, 3])
def test_a_retired_key_forges_nothing_beside_the_tree_that_the_new_one_found(
    services: FakeServices,
    client_of: ClientOf,
    log: FakeLog,
    ask: Callable[[Client], Any],
    short_of_the_change: int,
) -> None:
    """Whichever retired key it is, and whatever the thief shows of what is genuine."""
    later = services.keys()
    services.logs[LOG] = invented(log, log.size - short_of_the_change)
    client = client_of(LogKeys(later))
    for _ in range(2):  # nothing of it was remembered
        with pytest.raises(RollbackError):
            ask(client)
    services.logs[LOG] = log
    ask(client)


def test_another_header_shows_nothing(services: FakeServices, client_of: ClientOf, log: FakeLog) -> None:
    forged = invented(log, log.size)
    header = blocks.decode(log.found)
    services.logs[LOG] = forged
    later = LogKeys([log.signer.verifier])
    root = forged._header(header.height)
    for shown in (b"", root, log.found + b" ", b"\xff"):
        services.previous_header = shown
        with pytest.raises(AnswerError, match="the service shows none of the key in force"):
            client_of(LogKeys(later)).proof_file(LOG, 0)


def change_to(log: FakeLog, header: bytes, size: int) -> KeyChange:
    return key_changes.sign(
        log=log.name,
        height=3,
        size=size,
        previous=blocks.header_hash(header),
        time=3,
        old=log.signer,
        new=Signer(log.origin, b"\x55" * 32),
    )


def test_the_header_must_be_the_one_that_the_statement_names_and_of_its_log_and_size(log: FakeLog) -> None:
    header = log._header(2)
    found = tree_found(change_to(log, header, log.size), header)
    assert (found.origin, found.size, found.root.hex()) == (
        log.origin,
        log.size,
        blocks.decode(header).root,
    )
    for number in range(len(header)):
        altered = header[:number] + bytes([header[number] ^ 1]) + header[number + 1 :]
        with pytest.raises(KeyChangeError):
            tree_found(change_to(log, header, log.size), altered)
    other = FakeLog("browse/1")
    other.append_browses(log.size)
    for named, size in ((header, log.size + 1), (other._header(2), log.size), (b"no header", log.size)):
        with pytest.raises(KeyChangeError):
            tree_found(change_to(log, named, size), named)
