"""The table of docs/privacy.md, cell by cell, against running services: who may see what of a look."""

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.credentials import FILE
from deploy.processes import HOST
from deploy.stack import Stack
from goodstrace.accounts import AccountsClient
from goodstrace.audit.v1 import watch_pb2, watch_pb2_grpc
from goodstrace.client import Client
from goodstrace.credentials import local_user
from goodstrace.errors import CallError
from goodstrace.log_keys import LogKeys
from goodstrace.login import LoginClient
from goodstrace.receipts import Receipt, Standing
from goodstrace.record.v1 import record_pb2
from goodstrace.token_sources import FixedToken
from services.runtime.topics import BROWSE_WATCHED
from tests.deadlines import DEADLINE_S
from tests.system.harness import System, eventually

PAGE: Final = Path(__file__).parents[2] / "docs" / "privacy.md"
ITEM: Final = "https://id.gs1.org/01/09521234543213/21/1"
PURPOSE: Final = "to see whether the milk is fresh"
SHOPPER: Final = "demo-shopper"
COLUMNS: Final = {
    "the user who looked": "shopper",
    "another user": "other",
    "the merchant of the goods": "merchant",
    "auditor": "auditor",
    "operator": "operator",
    "anybody": "",
}
WATCH: Final = "the watch"
DENIED: Final = ("PERMISSION_DENIED", "UNAUTHENTICATED")


def table() -> dict[str, dict[str, str]]:
    """The first table of the page: cells by row and column."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    from_there = dropwhile(lambda line: not line.startswith("|"), lines)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in takewhile(lambda line: line.startswith("|"), from_there)
    ]
    head, body = rows[0], rows[2:]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}


def denied(code: str) -> None:
    """See that somebody was refused for who they are, and for nothing else."""
    assert code in DENIED


@dataclass
class World:
    """The system, a client for each column, and a look of the shopper's."""

    system: System
    tokens: dict[str, str]
    clients: dict[str, Client]
    receipt: Receipt
    others: str
    told: list[record_pb2.WatchedBrowse] = field(default_factory=list)

    def seen(self, who: str) -> tuple[dict[str, Any], str]:
        """What somebody sees of the look, asking in every way: its parts, and its outcome."""
        for asked in ({"user": SHOPPER}, {"key": ITEM}, {"start_ms": 1}):
            try:
                found = self.clients[who].browses(limit=1000, **asked)
            except CallError as error:
                denied(error.code)
                continue
            for entry, outcome in zip(found.entries, found.outcomes, strict=True):
                if entry.entry.id == self.receipt.browse_id:
                    return {name: json.loads(text) for name, text in entry.parts.items()}, outcome
        return {}, ""

    def may(self, call: Callable[[], object]) -> bool:
        """Whether a call is answered; refused for anything else than who calls it fails."""
        try:
            call()
        except CallError as error:
            denied(error.code)
            return False
        return True


def _token(system: System, role: str) -> str:
    user = local_user(system.run_dir / FILE, system.query_target, role)
    assert user is not None
    with LoginClient(system.query_target) as login:
        return login.sign_in(*user).access_token


def _another(system: System) -> str:
    """Make one more shopper, and sign in."""
    operator = system.operator_token_file.read_text().strip()
    with AccountsClient(system.query_target, FixedToken(operator)) as accounts:
        _, made = accounts.add("eve", ["shopper"])
    with LoginClient(system.query_target) as login:
        session = login.sign_in("eve", made)
    with LoginClient(system.query_target, FixedToken(session.access_token)) as login:
        return login.change_password(made, "a long word that nobody guesses 7").issued.token


def _client(system: System, token: str, receipts: list[Receipt]) -> Client:
    return Client(
        system.query_target,
        LogKeys.load(system.key_dir),
        purpose=PURPOSE,
        audit_target=system.audit_target,
        token=token,
        on_receipt=receipts.append,
    )


@pytest.fixture(scope="module")
def world(stack: Stack, systems: Callable[..., System]) -> Iterator[World]:
    system = systems(stack, GOODSTRACE_ACCOUNTS="required").start()
    tokens = {role: _token(system, role) for role in ("shopper", "merchant", "auditor", "operator")}
    receipts: list[Receipt] = []
    tokens |= {"other": _another(system), "": ""}
    clients = {role: _client(system, token, receipts) for role, token in tokens.items()}
    clients["shopper"].trace(ITEM)
    looks = len(receipts)  # the first is the trace; others prove that it is complete
    clients["auditor"].trace(ITEM)
    made = World(system, tokens, clients, receipts[0], receipts[looks].browse_id)

    def settled() -> bool:
        parts, outcome = made.seen("auditor")
        return bool(parts) and outcome == "answered"

    eventually(settled, what="the look is sealed, in the index, and marked as answered")
    made.told = list(_told(system))
    yield made
    for client in clients.values():
        client.close()


def _told(system: System) -> Iterator[record_pb2.WatchedBrowse]:
    """All that the watch is told."""
    topic = f"{system.topic_prefix}{BROWSE_WATCHED}"
    consumer = Consumer({"bootstrap.servers": system.stack.kafka_bootstrap_servers, "group.id": "unused"})
    try:
        place = TopicPartition(topic, 0, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=DEADLINE_S)
        consumer.assign([place])
        while (message := consumer.poll(30)) is not None:
            yield record_pb2.WatchedBrowse.FromString(message.value() or b"")
            if (message.offset() or 0) + 1 >= end:
                break
    finally:
        consumer.close()


def _yes(what: object) -> str:
    return "yes" if what else "no"


def _part(part: str, member: str, value: object = None) -> Callable[[World, str], str]:
    """Whether a member of a part is seen."""

    def probe(world: World, who: str) -> str:
        told = world.seen(who)[0].get(part, {}).get(member)
        assert value is None or told in (None, value)
        return _yes(told is not None)

    return probe


def _entries(world: World, _who: str) -> str:
    size = int(httpx.get(f"{world.system.log_url}/logs/browse/0/checkpoint").text.split("\n")[1])
    found = httpx.get(f"{world.system.log_url}/logs/browse/0/tile/entries/000.p/{size}")
    return _yes(world.receipt.browse_id.encode() in found.content)


def _proof(world: World, who: str) -> str:
    return _yes(world.clients[who].browse_proof(world.receipt).standing is Standing.SEALED)


def _others(world: World, who: str) -> str:
    """Whether somebody sees that the auditor looked at the same goods; counts, where they may ask for these."""
    try:
        found = world.clients[who].browses(key=ITEM, limit=1000)
    except CallError as error:
        denied(error.code)
    else:
        return _yes(any(each.entry.id == world.others for each in found.entries))
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    merchant = 1 if who in ("auditor", "operator") else 0
    asked = world.may(lambda: world.clients[who].goods_browses(yesterday, yesterday, merchant=merchant))
    return "counts" if asked else "no"


def _statistics(world: World, who: str) -> str:
    now_ms = time.time_ns() // 1_000_000
    return _yes(world.may(lambda: world.clients[who].statistics("hour", now_ms - 86_400_000)))


def _alerts(world: World, who: str) -> str:
    metadata = (("authorization", f"Bearer {world.tokens[who]}"),) if world.tokens[who] else ()
    with grpc.insecure_channel(f"{HOST}:{world.system.audit_port}") as channel:
        try:
            watch_pb2_grpc.WatchServiceStub(channel).ListAlerts(
                watch_pb2.ListAlertsRequest(), timeout=DEADLINE_S, metadata=metadata
            )
        except grpc.RpcError as error:
            denied(error.code().name)
            return "no"
    return "yes"


PROBES: Final[dict[str, Callable[[World, str], str]]] = {
    "that there was one, and when": _entries,
    "that it is sealed, with its receipt's ID": _proof,
    "the name of who looked": _part("who", "user", SHOPPER),
    "from which network": _part("who", "network"),
    "what was looked at, and by which call": _part("what", "keys", [ITEM]),
    "the purpose": _part("purpose", "purpose", PURPOSE),
    "how much was shown": _part("outcome", "events"),
    "whether it was answered": lambda world, who: _yes(world.seen(who)[1] == "answered"),
    "who else looked at the same goods": _others,
    "how much is looked at in all": _statistics,
    "alerts": _alerts,
}


def test_every_row_and_column_of_the_page_is_tried() -> None:
    cells = table()
    assert list(cells) == list(PROBES)
    assert all(set(row) == {*COLUMNS, WATCH} for row in cells.values())


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", PROBES)
def test_a_cell_says_what_is_so(world: World, row: str, column: str) -> None:
    assert PROBES[row](world, COLUMNS[column]) == table()[row][column]


def test_the_watch_is_told_what_the_page_says(world: World) -> None:
    """It knows people by pseudonyms, and no purposes."""
    [told] = [each for each in world.told if each.record_id.hex() == world.receipt.browse_id]
    assert told.keys == [ITEM]
    assert told.method == "Trace"
    assert told.network
    assert len(told.pseudonym) == 24
    everything = b"".join(each.SerializeToString() for each in world.told)
    assert SHOPPER.encode() not in everything
    assert PURPOSE.encode() not in everything
    says = {row: cells[WATCH] for row, cells in table().items()}
    assert {row for row, cell in says.items() if cell == "pseudonym"} == {
        "the name of who looked",
        "who else looked at the same goods",
    }
    assert {row for row, cell in says.items() if cell == "no"} == {"the purpose", "whether it was answered"}
