"""A subscription as its client sees it: verified, gone on with from its cursor, and in a file once whenever it is killed."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from goodstrace import subscription
from goodstrace.cli.main import cli
from goodstrace.client import Client
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, CallError, EntryError, FilterError, ProofError, UnknownLogError
from goodstrace.subscription import Subscribed
from tests.unit.fake_services import ClientOf, FakeLog, FakeServices


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "_FIRST_WAIT_S", 0.0)


@pytest.fixture
def log(services: FakeServices) -> FakeLog:
    made = services.logs["goods/0"] = FakeLog("goods/0", 1)
    for number in range(7):
        made.append(Kind.EVENT, {"event": b'{"type":"ObjectEvent","n":%d}' % number})
    return made


def received(client: Client, **options: Any) -> tuple[list[Subscribed], Exception]:
    """What came until the stream broke off for good."""
    found: list[Subscribed] = []
    with pytest.raises(CallError) as raised:
        found.extend(client.subscribe(**options))
    return found, raised.value


def test_it_goes_on_from_the_last_cursor_and_each_event_comes_once(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    services.subscriptions = [
        [services.message(log, after=0), services.message(log, 0, 1, after=2, browse_id="b1")],
        [services.message(log, after=2)],
        [services.message(log, after=2), services.message(log, 4, after=7, caught_up=True)],
    ]
    found, error = received(client_of(), start="beginning", heartbeat_s=7, page_size=9)
    assert isinstance(error, CallError)
    assert error.code == "NOT_FOUND"
    assert [each.position.index for message in found for each in message.events] == [0, 1, 4]
    assert [message.cursor for message in found if message.events] == ["goods/0@2", "goods/0@7"]
    assert (found[-1].positions, found[-1].caught_up) == ({"goods/0": 7}, True)
    asked = [each for each in services.requests if hasattr(each, "heartbeat_s")]
    assert [each.cursor for each in asked] == ["", "", "goods/0@2", "goods/0@2", "goods/0@2"]
    assert {(each.start, each.heartbeat_s, each.page_size) for each in asked} == {(1, 7, 9)}


def test_a_service_that_is_away_for_longer_is_given_up(
    services: FakeServices, client_of: ClientOf, log: FakeLog
) -> None:
    services.subscriptions = [[services.message(log, after=0)]]
    found, error = received(client_of(), patience_s=0)
    assert (len(found), error.code) == (1, "UNAVAILABLE")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda s, log: [s.message(log, 1, 0, after=2)], AnswerError),
        (lambda s, log: [s.message(log, 1, 1, after=2)], AnswerError),
        (lambda s, log: [s.message(log, 2, after=2)], AnswerError),
        (lambda s, log: [s.message(log, 1, after=3), s.message(log, 2, after=4)], AnswerError),
        (lambda s, log: [s.message(log, after=3), s.message(log, after=2)], AnswerError),
        (lambda s, log: [s.message(log, after=1, cursor="")], AnswerError),
        (lambda s, log: [_foreign(s.message(log, 1, after=2))], UnknownLogError),
        (lambda s, log: [_moved(s.message(log, 1, after=3))], ProofError),
        (lambda s, log: [_altered(s.message(log, 1, after=2))], EntryError),
        (lambda s, log: [s.message(s.logs["browse/0"], 1, after=2)], AnswerError),
    ],
)
def test_what_does_not_hold_is_refused(
    services: FakeServices, client_of: ClientOf, log: FakeLog, make: Any, kind: type[Exception]
) -> None:
    services.subscriptions = [make(services, log)]
    with pytest.raises(kind):
        list(client_of().subscribe(start="beginning", patience_s=0))


def _foreign(message: Any) -> Any:
    message.checkpoints[0].log = "goods/1"
    return message


def _moved(message: Any) -> Any:
    message.events[0].sealed.index = 2
    return message


def _altered(message: Any) -> Any:
    message.events[0].sealed.parts[0].content += b" "
    return message


def test_what_was_not_asked_for_is_refused(services: FakeServices, client_of: ClientOf, log: FakeLog) -> None:
    services.subscriptions = [[services.message(log, 0, after=1)]]
    with pytest.raises(AnswerError, match="not an event that was subscribed to"):
        list(client_of().subscribe(merchants=[2]))
    with pytest.raises(FilterError):
        client_of().subscribe(prefixes=["x"])


# ---- the command


def run(target: str, folder: Path, services: FakeServices, *options: str) -> Any:
    keys = folder / "keys"
    keys.write_text("\n".join(log.signer.verifier.vkey() for log in services.logs.values()))
    memory = str(folder / "memory.json")
    common = ["--query", target, "--log-keys", str(keys), "--memory", memory, "--patience", "0"]
    return CliRunner().invoke(cli, ["subscribe", *common, *options])


def stream(services: FakeServices, log: FakeLog) -> list[list[Any]]:
    return [[services.message(log, after=0), services.message(log, 0, 1, after=2, caught_up=True)]]


def lines(text: str) -> list[tuple[str, int]]:
    return [(each["log"], each["index"]) for each in map(json.loads, text.splitlines())]


def test_lines_are_printed_and_the_cursor_kept(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    client_of()
    services.subscriptions = stream(services, log)
    cursor = tmp_path / "cursor"
    result = run(f"unix:{tmp_path}/socket", tmp_path, services, "--once", "--cursor-file", str(cursor))
    assert result.exit_code == 0, result.output
    assert lines(result.stdout) == [("goods/0", 0), ("goods/0", 1)]
    assert json.loads(cursor.read_text())["positions"] == {"goods/0": 2}
    services.subscriptions = [[services.message(log, 2, after=3, caught_up=True)]]
    result = run(f"unix:{tmp_path}/socket", tmp_path, services, "--once", "--cursor-file", str(cursor))
    assert lines(result.stdout) == [("goods/0", 2)]
    assert services.requests[-1].cursor == "goods/0@2"
    other = run(f"unix:{tmp_path}/socket", tmp_path, services, "--step", "x", "--cursor-file", str(cursor))
    assert other.exit_code == 1
    assert "another subscription" in other.output


def test_in_a_file_every_event_is_once_whenever_it_is_killed(
    services: FakeServices, client_of: ClientOf, log: FakeLog, tmp_path: Path
) -> None:
    client_of()
    output, cursor = tmp_path / "out", tmp_path / "cursor"
    options = ("--once", "--cursor-file", str(cursor), "--output", str(output))
    services.subscriptions = stream(services, log)
    run(f"unix:{tmp_path}/socket", tmp_path, services, *options)
    whole, before = output.read_bytes(), cursor.read_bytes()
    assert lines(whole.decode()) == [("goods/0", 0), ("goods/0", 1)]
    after = services.message(log, 2, 3, after=4, caught_up=True)
    services.subscriptions = [[after]]
    run(f"unix:{tmp_path}/socket", tmp_path, services, *options)
    both = output.read_bytes()
    # Killed anywhere between the cursor before and the cursor after: what is in the file beyond the former is not written again.
    for size in range(len(whole), len(both) + 1, 7):
        output.write_bytes(both[:size])
        cursor.write_bytes(before)
        services.subscriptions = [[after]]
        result = run(f"unix:{tmp_path}/socket", tmp_path, services, *options)
        assert result.exit_code == 0, result.output
        assert output.read_bytes() == both
    output.write_bytes(whole[:-5])
    assert run(f"unix:{tmp_path}/socket", tmp_path, services, *options).exit_code == 1


def test_a_file_without_its_cursor_is_not_written_to(tmp_path: Path, services: FakeServices) -> None:
    output = tmp_path / "out"
    output.write_text("{}\n")
    result = run(
        "unix:none", tmp_path, services, "--output", str(output), "--cursor-file", str(tmp_path / "c")
    )
    assert result.exit_code == 2
    assert run("unix:none", tmp_path, services, "--output", str(output)).exit_code == 2
