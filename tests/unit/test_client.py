"""The client against services in memory that can be told to lie."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from goodstrace.cli import main
from goodstrace.client import Client
from goodstrace.errors import (
    AnswerError,
    CallError,
    CheckpointError,
    NoteError,
    RollbackError,
    StaleError,
    UnknownLogError,
)
from goodstrace.log_keys import LogKeys
from goodstrace.memory import FileMemory, VolatileMemory
from goodstrace.query.v1 import registrations_pb2, trace_pb2
from tests.unit.fake_services import KEY, ClientOf, FakeLog, FakeServices


def swap(services: FakeServices, log: FakeLog) -> None:
    services.logs[log.name] = log


# -- checkpoints: what was seen before --------------------------------------------------------------------------


def test_checkpoints_of_logs_that_only_grow_are_taken(services: FakeServices, client_of: ClientOf) -> None:
    client = client_of()
    sizes = []
    for _ in range(4):
        sizes.append({log: each.checkpoint.size for log, each in client.checkpoints().items()})
        services.logs["browse/0"].append_browses(3)
    assert sizes == [{"goods/0": 7, "browse/0": size} for size in (5, 8, 11, 14)]


def test_a_log_that_was_empty_may_become_anything(services: FakeServices, client_of: ClientOf) -> None:
    swap(services, services.logs["browse/0"].cut(0))
    client = client_of()
    client.checkpoints()
    services.logs["browse/0"].append_browses(3)
    assert client.checkpoints()["browse/0"].checkpoint.size == 3


def test_a_forked_log_of_the_same_size_is_a_rollback(services: FakeServices, client_of: ClientOf) -> None:
    client = client_of()
    client.checkpoints()
    swap(services, services.logs["browse/0"].forked(3))
    with pytest.raises(RollbackError, match="browse/0"):
        client.checkpoints()


@pytest.mark.parametrize("fork_at", range(5))
def test_a_forked_log_that_grew_is_a_rollback(
    services: FakeServices, client_of: ClientOf, fork_at: int
) -> None:
    client = client_of()
    client.checkpoints()
    forked = services.logs["browse/0"].forked(fork_at)
    forked.append_browses(4)
    swap(services, forked)
    with pytest.raises(RollbackError, match="browse/0"):
        client.checkpoints()


def test_a_log_that_was_cut_is_a_rollback(services: FakeServices, client_of: ClientOf) -> None:
    # The service has the old checkpoint's signature but not its tree: it cannot prove what it signed.
    client = client_of()
    client.checkpoints()
    swap(services, services.logs["browse/0"].cut(3))
    with pytest.raises(RollbackError, match="browse/0"):
        client.checkpoints()


def answering_from(log: FakeLog, size: int, times: int = 1000) -> Callable[[Any], None]:
    """Give the checkpoint of a log at a size in the place of its newest, so many times; what proves that it grew is given truthfully."""
    left = times

    def older(answer: Any) -> None:
        nonlocal left
        for each in getattr(answer, "checkpoints", ()):
            if each.log == log.name and left:
                each.CopyFrom(log.checkpoint(size))
                left -= 1

    return older


def test_a_question_is_not_answered_from_before_what_was_seen(
    services: FakeServices, client_of: ClientOf, tmp_path: Path
) -> None:
    memory = FileMemory(tmp_path / "memory.json")
    client_of(memory=memory).checkpoints()
    log = services.logs["browse/0"]
    remembered = memory.get(log.origin)
    services.altered = answering_from(log, 4)
    for client in (client_of(memory=memory), client_of(memory=FileMemory(tmp_path / "memory.json"))):
        before = len(services.requests)
        with pytest.raises(StaleError, match="browse/0 at size 4, which had 5 before it was asked"):
            client.checkpoints()
        assert [type(each) for each in services.requests[before:]].count(trace_pb2.GetCheckpointRequest) == 2
    assert memory.get(log.origin) == remembered


def test_the_command_line_says_what_to_do_about_a_stale_answer(
    services: FakeServices,
    client_of: ClientOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    goods, memory, keys = services.logs["goods/0"], tmp_path / "memory.json", tmp_path / "keys"
    client_of(memory=FileMemory(memory)).checkpoints()
    keys.write_text("\n".join(log.signer.verifier.vkey() for log in services.logs.values()))
    services.traces = [trace_pb2.TraceResponse(key=KEY, checkpoints=[goods.checkpoint(6)], truncated=True)]
    options = ["--query", f"unix:{tmp_path}/socket", "--log-keys", str(keys), "--memory", str(memory)]
    monkeypatch.setattr(sys, "argv", ["goodstrace", "trace", KEY, *options])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "does not verify: the service answers from goods/0 at size 6, which had 7" in said
    assert "Ask again; if it stays so" in said
    assert "--as-of" in said


def test_every_question_that_names_no_size_is_held_to_what_was_seen(
    services: FakeServices, client_of: ClientOf
) -> None:
    goods = services.logs["goods/0"]
    old = [goods.checkpoint(6)]
    services.traces = [trace_pb2.TraceResponse(key=KEY, checkpoints=old)]
    services.events = [trace_pb2.GetEventResponse(checkpoints=old)]
    services.registrations = [registrations_pb2.GetRegistrationsResponse(checkpoints=old)]
    message = services.message(goods, after=6)
    message.checkpoints[0].CopyFrom(old[0])
    client = client_of()
    client.checkpoints()
    services.subscriptions = [[message]]
    for ask in (
        lambda: client.trace(KEY, complete=False),
        lambda: client.event("urn:uuid:1"),
        lambda: client.registrations("urn:goodstrace:merchant:1"),
        lambda: next(client.subscribe(patience_s=0)),
    ):
        with pytest.raises(StaleError, match="goods/0 at size 6"):
            ask()
    services.altered = answering_from(services.logs["browse/0"], 3)
    with pytest.raises(StaleError, match="browse/0 at size 3"):
        client.browses(user="someone")


def test_a_question_that_names_its_sizes_is_answered_from_before(
    services: FakeServices, client_of: ClientOf
) -> None:
    memory, goods = VolatileMemory(), services.logs["goods/0"]
    client = client_of(memory=memory)
    client.checkpoints()
    services.traces = [trace_pb2.TraceResponse(key=KEY, checkpoints=[goods.checkpoint(2)], truncated=True)]
    answer = client.trace(KEY, as_of={"goods/0": 2}, complete=False)
    assert answer.checkpoints["goods/0"].checkpoint.size == 2
    assert memory.get(goods.origin) == goods.checkpoint().note
    with pytest.raises(StaleError, match="goods/0"):  # not a word about this log
        client.trace(KEY, as_of={"browse/0": 2}, complete=False)


def test_a_process_that_was_just_behind_is_asked_once_more(
    services: FakeServices, client_of: ClientOf
) -> None:
    client = client_of()
    client.checkpoints()
    services.altered = answering_from(services.logs["browse/0"], 4, times=1)
    assert client.checkpoints()["browse/0"].checkpoint.size == 5


def test_of_two_questions_at_a_time_the_first_may_be_answered_last(
    services: FakeServices, client_of: ClientOf
) -> None:
    client = client_of()
    client.checkpoints()
    log, asked = services.logs["browse/0"], 0
    older = answering_from(log, 5, times=1)

    def overtaken(answer: Any) -> None:
        nonlocal asked
        asked += isinstance(answer, trace_pb2.GetCheckpointResponse)
        if isinstance(answer, trace_pb2.GetCheckpointResponse) and asked == 1:
            log.append_browses(2)
            assert client.checkpoints()["browse/0"].checkpoint.size == 7  # asked later, answered earlier
            older(answer)

    services.altered = overtaken
    assert client.checkpoints()["browse/0"].checkpoint.size == 5
    assert asked == 2


def test_what_the_file_remembers_binds_the_next_client(
    services: FakeServices, client_of: ClientOf, tmp_path: Path
) -> None:
    memory = tmp_path / "memory.json"
    client_of(memory=FileMemory(memory)).checkpoints()
    swap(services, services.logs["goods/0"].forked(6))
    with pytest.raises(RollbackError, match="goods/0"):
        client_of(memory=FileMemory(memory)).checkpoints()
    client_of(memory=FileMemory(tmp_path / "new.json")).checkpoints()  # one that never looked cannot know


class Shared(VolatileMemory):
    """A memory that another client uses between our reading and writing."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = None

    def replace(self, origin: str, before: str | None, note: str) -> bool:
        if origin.endswith("browse/0") and (act := self.meanwhile):
            self.meanwhile = None
            act()
        return super().replace(origin, before, note)


def test_of_two_clients_of_one_memory_the_larger_checkpoint_stays(
    services: FakeServices, client_of: ClientOf
) -> None:
    memory, log = Shared(), services.logs["browse/0"]
    other = client_of(memory=memory)

    def grow() -> None:
        log.append_browses(2)
        other.checkpoints()

    for _ in range(2):
        log.append_browses(1)
        memory.meanwhile = grow
        assert client_of(memory=memory).checkpoints()["browse/0"].checkpoint.size == log.size - 2
        assert memory.get(log.origin) == log.checkpoint().note


def test_of_two_clients_of_one_memory_one_sees_what_was_shown_to_the_other(
    services: FakeServices, client_of: ClientOf
) -> None:
    memory = Shared()
    other = client_of(memory=memory)

    def fork() -> None:
        swap(services, services.logs["browse/0"].forked(3))
        other.checkpoints()

    memory.meanwhile = fork
    with pytest.raises(RollbackError, match="browse/0"):
        client_of(memory=memory).checkpoints()


def test_a_rollback_does_not_overwrite_what_is_remembered(
    services: FakeServices, client_of: ClientOf
) -> None:
    memory = VolatileMemory()
    client = client_of(memory=memory)
    client.checkpoints()
    log = services.logs["browse/0"]
    remembered = memory.get(log.origin)
    forked = log.forked(2)
    forked.append_browses(2)
    swap(services, forked)
    for _ in range(2):
        with pytest.raises(RollbackError):
            client.checkpoints()
        assert memory.get(log.origin) == remembered


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_a_proof_that_cannot_be_got_now_is_no_rollback(
    services: FakeServices, client_of: ClientOf, code: grpc.StatusCode
) -> None:
    memory = VolatileMemory()
    client = client_of(memory=memory)
    client.checkpoints()
    remembered = memory.get(services.logs["browse/0"].origin)
    services.logs["browse/0"].append_browses(1)
    services.consistency_error = code
    with pytest.raises(CallError, match=code.name):
        client.checkpoints()
    assert memory.get(services.logs["browse/0"].origin) == remembered


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
    ],
)
def test_a_proof_that_the_service_refuses_is_a_rollback(
    services: FakeServices, client_of: ClientOf, code: grpc.StatusCode
) -> None:
    client = client_of()
    client.checkpoints()
    services.logs["browse/0"].append_browses(1)
    services.consistency_error = code
    with pytest.raises(RollbackError):
        client.checkpoints()


def test_what_is_remembered_and_is_no_note_is_an_error(services: FakeServices, client_of: ClientOf) -> None:
    memory = VolatileMemory()
    memory.replace(services.logs["goods/0"].origin, None, "not a note\n")
    with pytest.raises(NoteError):
        client_of(memory=memory).checkpoints()


# -- checkpoints: keys ------------------------------------------------------------------------------------------


def test_a_log_without_a_trusted_key_is_refused(services: FakeServices, client_of: ClientOf) -> None:
    keys = LogKeys([services.logs["goods/0"].signer.verifier])
    with pytest.raises(UnknownLogError, match="browse/0"):
        client_of(keys).checkpoints()


def test_a_checkpoint_signed_by_another_key_of_that_name_is_refused(
    services: FakeServices, client_of: ClientOf
) -> None:
    keys = LogKeys(FakeLog(name, seed=9).signer.verifier for name in services.logs)
    with pytest.raises(NoteError):
        client_of(keys).checkpoints()


def test_a_checkpoint_of_another_log_is_refused(services: FakeServices, client_of: ClientOf) -> None:
    def rename(answer: Any) -> None:
        answer.checkpoints[0].log, answer.checkpoints[1].log = "browse/0", "goods/0"

    services.altered = rename
    with pytest.raises((NoteError, CheckpointError)):
        client_of().checkpoints()


def test_two_checkpoints_of_one_log_are_refused(services: FakeServices, client_of: ClientOf) -> None:
    services.altered = lambda answer: answer.checkpoints.append(services.logs["goods/0"].checkpoint(3))
    with pytest.raises(AnswerError, match="two checkpoints"):
        client_of().checkpoints()


# -- calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL]
)
def test_a_refused_call_is_a_call_error_with_its_code(
    services: FakeServices, client_of: ClientOf, code: grpc.StatusCode
) -> None:
    services.error = code
    for call in (
        lambda client: client.checkpoints(),
        lambda client: client.browses(key=KEY),
        lambda client: client.event("urn:uuid:1"),
        lambda client: client.trace(KEY),
    ):
        services.traces = [trace_pb2.TraceResponse()]
        services.events = [trace_pb2.GetEventResponse()]
        with pytest.raises(CallError, match="told to fail") as raised:
            call(client_of())
        assert raised.value.code == code.name


def test_a_service_that_is_not_there_is_a_call_error(services: FakeServices, tmp_path: Path) -> None:
    with Client(f"unix:{tmp_path}/nobody", services.keys()) as client, pytest.raises(CallError) as raised:
        client.checkpoints()
    assert raised.value.code == "UNAVAILABLE"
