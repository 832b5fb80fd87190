"""What anybody may see shows nothing of what was captured: no key, name, time of event or content, however it is spelled.

Searched are the public answers (metrics, health, checkpoints, proofs, over the wire) and a plain dump of what will be public
as files (entries, checkpoints, tiles), for every string and time of the captured documents and of the look-ups in many spellings.
The same search over what is not public finds them all, so that it would find a leak.
"""

import base64
import hashlib
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import grpc
import httpx
import pytest

from goodstrace.entry import Kind
from goodstrace.identifiers import canonical_key
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.simulate import Simulation, SimulationOptions
from tests.deadlines import DEADLINE_S
from tests.system.harness import SERVICES, System

MIN_LENGTH = 5  # shorter ones ("ADD", "+02:00") turn up in any base64 by chance
USER, PURPOSE = "Ada Lovelace-Byron", "a recall of last Tuesday's milk"


@dataclass(frozen=True)
class Captured:
    """What was captured and looked at, and what of it nobody may see."""

    documents: list[dict[str, Any]]
    secrets: list[str]
    item: str
    shown_before: bytes  # what operations saw before anything was captured: no leak, whatever words are in it


@pytest.fixture(scope="module")
def captured(system: System) -> Captured:
    shown_before = b"".join(map(shown, [system] * len(SERVICES), SERVICES))
    simulation = Simulation(SimulationOptions(seed=11, events=240, events_per_document=60))
    documents = list(simulation.documents())
    system.capture_sealed([document.to_bytes() for document in documents])
    item = simulation.interesting().item
    assert item is not None
    with grpc.insecure_channel(system.query_target) as channel:
        request = trace_pb2.TraceRequest(key=item, purpose=PURPOSE)
        trace_pb2_grpc.TraceServiceStub(channel).Trace(
            request, timeout=DEADLINE_S, metadata=(("goodstrace-user", USER),)
        )
    system.wait_looks_sealed(1)
    contents = [document.content for document in documents]
    texts = sorted({text for content in contents for text in strings(content)} | {USER, PURPOSE, item})
    return Captured(contents, [text for text in texts if len(text) >= MIN_LENGTH], item, shown_before)


def shown(system: System, service: str) -> bytes:
    """What anybody at a service's monitoring port sees."""
    return b"".join(
        httpx.get(system.url(service, path)).content for path in ("/metrics", "/healthz", "/readyz")
    )


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value; of an event's member names those that are somebody's own (with a prefix)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (name for name in value if ":" in name)
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def times(text: str) -> Iterator[str]:
    """Other spellings of a point in time; nothing for any other text."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return
    if when.tzinfo is None:
        return
    seconds = when.timestamp()
    utc = when.astimezone(UTC)
    yield from (str(int(seconds)), utc.strftime("%Y-%m-%dT%H:%M:%S"), utc.strftime("%Y%m%dT%H%M%S"))


@cache
def spellings(text: str) -> frozenset[bytes]:
    """How a text may be written: as it is, canonical, escaped, encoded, hashed without a salt."""
    return frozenset(needle for needle in spelled(text) if len(needle) >= MIN_LENGTH)


def spelled(text: str) -> Iterator[bytes]:
    texts = {text, canonical_key(text), *times(text)}
    texts |= {each.rpartition("/")[2] for each in texts if "/" in each}
    texts |= {each.rpartition(":")[2] for each in texts if each.startswith("urn:")}
    for each in texts:
        if len(each) < MIN_LENGTH:
            continue
        data = each.encode()
        yield from {data, each.lower().encode(), each.upper().encode(), each.encode("utf-16-le")}
        yield urllib.parse.quote(each, safe="").encode()
        yield json.dumps(each)[1:-1].encode()
        yield data.hex().encode()
        for shift in range(
            3
        ):  # base64 of a text within others has three forms; its ends depend on its neighbours
            yield base64.b64encode(bytes(shift) + data)[4 if shift else 0 : -4]
        for digest in (hashlib.sha256(data), hashlib.sha1(data), hashlib.md5(data)):
            yield from (digest.digest(), digest.hexdigest().encode(), base64.b64encode(digest.digest()))


def found(secrets: list[str], blob: bytes) -> list[tuple[str, bytes]]:
    """Which secrets are in the bytes, and how they are spelled there."""
    return [(secret, needle) for secret in secrets for needle in spellings(secret) if needle in blob]


def test_the_search_finds_what_is_there(system: System, captured: Captured) -> None:
    parts = b"\n".join(content for each in system.sealed() for content in each.parts.values())
    everything = parts + b"\n".join(
        json.dumps(each, ensure_ascii=False).encode() for each in captured.documents
    )
    hidden = set(captured.secrets) - {secret for secret, _ in found(captured.secrets, everything)}
    assert hidden == {USER, PURPOSE} - {captured.item}
    assert len(captured.secrets) > 500
    for planted in (USER.encode().hex(), base64.b64encode(b"xy" + PURPOSE.encode()).decode(), USER.upper()):
        assert found([USER, PURPOSE], b"...." + planted.encode() + b"....")


def test_a_dump_of_the_entries_shows_nothing(system: System, captured: Captured) -> None:
    for prefix in ("goods/", "browse/"):
        entries = b"\n".join(each.entry for each in system.sealed(prefix))
        assert entries
        assert found(captured.secrets, entries) == []


def test_a_dump_of_checkpoints_tiles_and_headers_shows_nothing(system: System, captured: Captured) -> None:
    notes = [each["note"].encode() for each in system.store["checkpoints"].find()]
    tiles = [each["data"] for each in system.store["tiles"].find()]
    headers = [each["header"] for each in system.store["blocks"].find()]
    logs = [json.dumps(each).encode() for each in system.store["logs"].find()]
    assert notes
    assert tiles
    assert headers
    assert found(captured.secrets, b"\n".join([*notes, *tiles, *headers, *logs])) == []


def test_the_public_calls_show_nothing(system: System, captured: Captured) -> None:
    answers: list[bytes] = []
    with grpc.insecure_channel(system.query_target) as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        newest = stub.GetCheckpoint(trace_pb2.GetCheckpointRequest(), timeout=DEADLINE_S)
        answers.append(newest.SerializeToString())
        for checkpoint in newest.checkpoints:
            log, size = checkpoint.log, int(checkpoint.note.split("\n")[1])
            for index in range(size):
                inclusion = trace_pb2.GetInclusionProofRequest(log=log, index=index)
                answers.append(stub.GetInclusionProof(inclusion, timeout=DEADLINE_S).SerializeToString())
            if size > 1:
                growth = trace_pb2.GetConsistencyProofRequest(log=log, old_size=size // 2, new_size=size)
                answers.append(stub.GetConsistencyProof(growth, timeout=DEADLINE_S).SerializeToString())
    assert len(answers) > 240
    assert found(captured.secrets, b"\n".join(answers)) == []


def test_the_public_calls_are_not_recorded(system: System, captured: Captured) -> None:
    before = len(system.looks())
    with system.client() as client:
        client.checkpoints()
    assert len(system.looks()) == before


@pytest.mark.parametrize("service", SERVICES)
def test_what_operations_look_at_shows_nothing(system: System, captured: Captured, service: str) -> None:
    words = {secret for secret, _ in found(captured.secrets, captured.shown_before)}
    assert words <= {
        "in_progress",
        "DELETE",
    }  # words of the CBV, and of metrics: a name, a command of the store
    after = shown(system, service)
    assert b"goodstrace_build_info" in after
    assert found([secret for secret in captured.secrets if secret not in words], after) == []


def test_the_services_logs_show_no_content(system: System, captured: Captured) -> None:
    lines = b"".join(daemon.log.read_bytes() for daemon in system.daemons.values())
    assert found(captured.secrets, lines) == []


def test_entries_of_one_event_captured_twice_have_nothing_in_common(system: System) -> None:
    # Fresh salts: who sees the entries cannot tell that two of them commit to the same content.
    simulation = Simulation(SimulationOptions(seed=12, events=1))
    (document,) = simulation.documents()
    event = {**document.content["epcisBody"]["eventList"][0]}  # type: ignore[index]
    contents = [{**document.content, "epcisBody": {"eventList": [event | {"ex:n": n}]}} for n in (1, 2)]
    before = {each.id for each in system.sealed()}
    system.capture_sealed([json.dumps(content).encode() for content in contents])
    new = [json.loads(each.entry) for each in system.sealed() if each.id not in before]
    assert len(new) == 2
    assert all(entry["kind"] == Kind.EVENT for entry in new)
    commits = [{part["commit"] for part in entry["parts"]} for entry in new]
    assert not commits[0] & commits[1]
