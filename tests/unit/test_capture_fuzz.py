"""Whatever is sent to the capture API: no 5xx, no status that its OpenAPI does not name, nothing leaked, no growth of memory.

Each test prints what it sent and what came of it.
"""

import asyncio
import ctypes
import gc
import gzip
import json
import random
import re
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from services.collector.documents import Limits
from services.runtime.access.openapi import MERCHANT_BEARER, MERCHANT_KEY, OPERATOR_TOKEN
from services.runtime.epcis_negotiation import VERSION_HEADERS
from services.runtime.merchants.credentials import API_KEY, AUTHORIZATION
from tests.unit.capture_api import LOG, Running
from tests.unit.collector_builders import document, object_event
from tests.unit.registry_builders import OPERATOR, Registry, whole_app

MIB = 1024 * 1024
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
ROOT = str(Path(__file__).parents[2]).encode()
LEAKS = re.compile(
    rb"Traceback|File \"|site-packages|\.py\b|/usr/|/home/|0x[0-9a-f]{8}|pymongo|msgspec|starlette|"
    + re.escape(ROOT)
)
CREDENTIALS = (AUTHORIZATION, API_KEY)
TYPES = ("application/ld+json", "application/x-ndjson")
REFUSED = {400, 413}
MOST_OBJECTS = 20_000
MOST_BYTES = 64 * MIB
SCHEMA = schemathesis.openapi.from_dict(whole_app(Registry()).openapi())
OPERATIONS = [each.ok() for each in SCHEMA.get_all_operations()]
Say = Callable[[str], None]


def examples(number: int) -> settings:
    """The same examples in every run, which leave nothing on disk."""
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=number,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


class Client:
    """The API on an event loop of its own, for tests that are not coroutines; counts what it answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, here: Running | None = None) -> None:
        self._loop = loop
        self.here = here or Running(limits=Limits(body=32 * MIB))
        self._committing = loop.create_task(self.here.commits.run(LOG))
        self.statuses: Counter[int] = Counter()

    def send(self, request: httpx.Request) -> httpx.Response:
        answer = self.wait(self.here.http.send(request))
        self.statuses[answer.status_code] += 1
        assert answer.status_code < 500, answer.text
        assert not LEAKS.search(answer.content), answer.text
        assert self.here.metrics.waiting_bytes._value.get() == 0
        return answer

    def post(self, body: bytes, path: str = "capture", **headers: str) -> httpx.Response:
        told = {"content-type": TYPES[0], **{name.replace("_", "-"): text for name, text in headers.items()}}
        return self.send(
            self.here.http.build_request("POST", f"/epcis/v2/{path}", content=body, headers=told)
        )

    def forget(self) -> None:
        """Drop what the stand-ins for Kafka and MongoDB keep: theirs is no growth of the collector's."""
        self.here.kafka.transactions.clear()
        self.here.jobs.jobs.clear()
        self.here.keys.held.clear()

    def close(self) -> None:
        self.here.commits.close()
        self.wait(asyncio.wait([self._committing]))
        self.wait(self.here.http.aclose())

    def wait(self, what: Awaitable[Any]) -> Any:
        return self._loop.run_until_complete(what)  # type: ignore[arg-type]


@pytest.fixture
def client() -> Iterator[Client]:
    loop = asyncio.new_event_loop()
    made = Client(loop)
    yield made
    made.close()
    loop.close()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Say:
    def print_it(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {request.node.name}: {text}")

    return print_it


@contextmanager
def memory(client: Client) -> Iterator[Callable[[], str]]:
    """Check that no more is held after than before, but for what caches keep. What the allocator keeps of what is free is given back before."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)  # glibc's

    def held() -> tuple[int, int]:
        client.forget()
        gc.collect()
        give_back(0)
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        return sys.getallocatedblocks(), resident

    before = held()
    yield lambda: f"{grown[0]} objects and {grown[1] / MIB:.1f} MiB more held after"
    grown = tuple(after - start for after, start in zip(held(), before, strict=True))
    assert grown[0] < MOST_OBJECTS
    assert grown[1] < MOST_BYTES


class Known:
    """The whole API of a collector that knows who is who, with a merchant's key and the operator's token."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        registry = Registry()
        whole_app(registry)
        self.client = Client(loop, registry.running)
        _, self.key = self.client.wait(registry.merchant(everything=True))

    def shown(self, requirements: list[dict[str, Any]]) -> dict[str, str]:
        """Headers with the first of our credentials that an operation's OpenAPI names."""
        schemes = {
            MERCHANT_KEY: {"X-API-Key": self.key},
            MERCHANT_BEARER: {"Authorization": f"Bearer {self.key}"},
            OPERATOR_TOKEN: {"Authorization": f"Bearer {OPERATOR}"},
        }
        named = [name for each in requirements for name in each if name in schemes]
        return schemes[named[0]] if named else {}


@pytest.fixture
def known() -> Iterator[Known]:
    loop = asyncio.new_event_loop()
    made = Known(loop)
    yield made
    made.client.close()
    loop.close()


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_answer_is_as_the_openapi_says(
    known: Known, say: Say, operation: Any, mode: GenerationMode
) -> None:
    checks, client = [CHECKS.get_one(name) for name in CHECKED], known.client
    security = operation.definition.raw["security"]
    client.statuses.clear()

    @examples(8)
    @given(case=operation.as_strategy(generation_mode=mode), plain=st.booleans(), who=st.integers(0, 4))
    def run(case: Any, *, plain: bool, who: int) -> None:
        sent = requests.Request(**case.as_transport_kwargs(base_url="http://collector")).prepare()
        body = sent.body.encode() if isinstance(sent.body, str) else sent.body
        told = dict(sent.headers)
        if plain:  # to get past what most made-up requests fail at
            told = {name: text for name, text in told.items() if name not in VERSION_HEADERS}
            body = body and document(object_event())
            told.pop("Content-Length", None)
        if who:  # else what was made up, or nothing
            told = {name: text for name, text in told.items() if name.lower() not in CREDENTIALS}
            told |= known.shown(security)
        # A header is bytes, and what was made up is not always ASCII.
        headers = {
            name: text.encode("latin-1", "replace") if isinstance(text, str) else text
            for name, text in told.items()
        }
        request = httpx.Request(str(sent.method), str(sent.url), headers=headers, content=body)
        answer = client.send(request)
        case.validate_response(answer, checks=checks)
        assert (answer.status_code == 401) <= (bool(security) and not who)

    run()
    say(f"{sum(client.statuses.values())} requests, {dict(sorted(client.statuses.items()))}")


def nested(depth: int, opening: str, closing: str, inner: str = "1") -> bytes:
    return (opening * depth + inner + closing * depth).encode()


def with_member(value: bytes) -> bytes:
    return document(object_event(**{"x:y": "HERE"})).replace(b'"HERE"', value)


HOSTILE = {
    "nothing": b"",
    "deep arrays": with_member(nested(100_000, "[", "]")),
    "deep objects": with_member(nested(100_000, '{"a":', "}")),
    "deep and open": b"[" * 5_000_000,
    "huge integer": with_member(b"9" * 1_000_000),
    "integer over the digits that Python reads": with_member(b"9" * 5_000),
    "huge exponent": with_member(b"1e999999999"),
    "tiny exponent": with_member(b"1e-999999999"),
    "long fraction": with_member(b"0." + b"1" * 500_000),
    "quantity of many digits": document(
        object_event(quantityList=[{"epcClass": "urn:epc:class:lgtin:4012345.012345.1", "quantity": 10**300}])
    ),
    "NaN": with_member(b"NaN"),
    "bad UTF-8": with_member(b'"\xff\xfe"'),
    "overlong UTF-8": with_member(b'"\xc0\xaf"'),
    "surrogate in UTF-8": with_member(b'"\xed\xa0\x80"'),
    "lone surrogate": with_member(b'"\\ud800"'),
    "control character": with_member(b'"\x01"'),
    "string of 10 MB": with_member(b'"' + b"a" * 10_000_000 + b'"'),
    "name of 10 MB": with_member(b'{"' + b"a" * 10_000_000 + b'": 1}'),
    "string of 10 MB escaped": with_member(b'"' + b"\\u0061" * 1_700_000 + b'"'),
    "note of 900 kB": with_member(b'{"ex:note": "' + b"a" * 900_000 + b'"}'),
    "number of 900 kB": with_member(b'{"ex:note": "+1' + b"0" * 900_000 + b'"}'),
    "not JSON, a word of 10 MB": b'{"' + b"a" * 10_000_000,
    "event ID of 900 kB": document(object_event(eventID="urn:e:" + "a" * 900_000)),
    "time of 900 kB": document(object_event(eventTime="2026-01-02T03:04:05." + "0" * 900_000 + "Z")),
    "EPC of 900 kB": document(object_event(epcList=["urn:epc:id:sgtin:" + "0614141." * 110_000])),
    "duplicate member": with_member(b'{"a": 1, "a": 2}'),
    "duplicate member, escaped": with_member(b'{"a": 1, "\\u0061": 2}'),
    "100,000 members": with_member(json.dumps({f"a{n}": n for n in range(100_000)}).encode()),
    "a million duplicates": with_member(b"{" + b'"a":1,' * 150_000 + b'"a":1}'),
    "a million empty events": b'{"@context":"x","type":"EPCISDocument","schemaVersion":"2.0","creationDate":'
    b'"2026-01-02T03:04:05Z","epcisBody":{"eventList":[' + b"{}," * 1_000_000 + b"{}]}}",
    "context of many prefixes": document(object_event(), **{"@context": [{f"p{n}": f"urn:{n}:" for n in range(20_000)}]}),
    "pointer of strange names": with_member(b'{"~/\\u0000\\n": {"a": 1, "a": 2}}'),
    "white space": b" " * 10_000_000,
    "not JSON": b"<epcis/>" * 1_000,
    "gzip, unannounced": gzip.compress(document(object_event())),
    "null": b"null",
    "string": b'"EPCISDocument"',
}  # fmt: skip


def hostile_round(client: Client) -> dict[tuple[str, str], int]:
    """Send all hostile bodies in every way; gives the statuses by name and media type."""
    ended = {}
    for name, body in HOSTILE.items():
        for kind in TYPES:
            ended[name, kind] = client.post(body, content_type=kind).status_code
        client.post(body, "events", GS1_Capture_Error_Behaviour="proceed")
    return ended


def test_hostile_bodies_are_refused_and_leave_nothing(client: Client, say: Say) -> None:
    hostile_round(client)  # what the allocator keeps once for all
    with memory(client) as grown:
        ended = hostile_round(client)
    kept = {name for (name, kind), status in ended.items() if kind == TYPES[0] and status == 202}
    say(
        f"{len(HOSTILE)} bodies, {dict(sorted(client.statuses.items()))}; {grown()}; captured: {sorted(kept)}"
    )
    assert {ended[name, TYPES[0]] for name in HOSTILE} - {202} <= REFUSED
    assert {ended[name, TYPES[1]] for name in HOSTILE} == {200}
    assert kept <= {
        "context of many prefixes",
        "event ID of 900 kB",
        "EPC of 900 kB",
        "long fraction",
        "quantity of many digits",
        "time of 900 kB",
        "tiny exponent",
        "note of 900 kB",
        "number of 900 kB",
        "100,000 members",
    }


def test_bombs_are_refused_before_they_are_inflated(client: Client, say: Say) -> None:
    bomb = gzip.compress(b" " * (100 * MIB), 6)
    with memory(client) as grown:
        assert client.post(bomb, content_encoding="gzip").status_code == 413
        lines = client.post(bomb, content_encoding="gzip", content_type=TYPES[1])
        members = client.post(gzip.compress(b"") * 20_000, content_encoding="gzip")
    (told,) = map(json.loads, lines.text.splitlines())
    assert (told["problem"]["status"], members.status_code) == (413, 400)
    say(f"{len(bomb)} bytes for 100 MiB; {grown()}")


def mutated(draw: random.Random, body: bytes) -> bytes:
    data = bytearray(body)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        match draw.randrange(5):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                del data[at : at + draw.randint(1, 30)]
            case 2:
                data[at:at] = draw.choice(
                    [
                        b"{",
                        b"}",
                        b"[",
                        b"]",
                        b'"',
                        b",",
                        b":",
                        b"\\",
                        b"\n",
                        b"0",
                        b"\xff",
                        b"null",
                        b"-",
                        b"1e400",
                    ]
                )
            case 3:
                data[at:at] = data[at : at + draw.randint(1, 60)]
            case _:
                del data[at:]
        if not data:
            break
    return bytes(data)


def test_mutated_documents_are_captured_or_refused_with_their_place(client: Client, say: Say) -> None:
    draw = random.Random(16)
    whole = document(
        object_event(**{"x:list": [1, {"a": [None, True]}], "ilmd": {"cbvmda:lotNumber": "L1"}}),
        object_event(eventID="urn:e:2", **{"@context": {"x": "urn:x:"}}),
    )
    single = json.dumps(object_event()).encode()
    with memory(client) as grown:
        for number in range(1_000):
            body = mutated(draw, single if number % 3 == 2 else whole)
            kind = TYPES[number % 3 // 2]
            coded = number % 7 == 0
            answer = client.post(
                gzip.compress(body) if coded else body,
                content_type=kind,
                content_encoding="gzip" if coded else "identity",
                gs1_capture_error_behaviour=draw.choice(["rollback", "proceed"]),
            )
            assert answer.status_code in {200, 202, 400}
            if answer.status_code == 400:
                assert all({"pointer", "detail"} <= fault.keys() for fault in answer.json()["errors"])
            if number % 100 == 99:
                client.forget()
    say(f"1000 bodies, {dict(sorted(client.statuses.items()))}; {grown()}")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
MEMBERS = sorted({*object_event(), "@context", "quantityList", "sensorElementList", "ilmd", "errorDeclaration", "bizTransactionList", "sourceList", "persistentDisposition", "parentID", "childEPCs", "childQuantityList", "inputEPCList", "outputQuantityList", "transformationID", "certificationInfo"})  # fmt: skip


def test_any_json_in_any_member_is_captured_or_refused(client: Client, say: Say) -> None:
    @examples(200)
    @given(member=st.sampled_from(MEMBERS), value=JSON, proceed=st.booleans())
    def run(member: str, value: Any, *, proceed: bool) -> None:
        body = json.dumps({**object_event(), member: value}).encode()
        behaviour = "proceed" if proceed else "rollback"
        answer = client.post(body, "events", gs1_capture_error_behaviour=behaviour)
        assert answer.status_code in {202, 400}
        client.forget()

    run()
    say(f"{sum(client.statuses.values())} events, {dict(sorted(client.statuses.items()))}")


def test_any_headers_are_read_or_refused(client: Client, say: Say) -> None:
    names = ("content-type", "content-encoding", "accept", "idempotency-key", "traceparent", "gs1-epcis-min", "gs1-capture-error-behaviour", "content-length")  # fmt: skip
    text = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)

    @examples(200)
    @given(
        given_headers=st.dictionaries(st.sampled_from(names), text, min_size=1, max_size=4), get=st.booleans()
    )
    def run(given_headers: dict[str, str], *, get: bool) -> None:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in given_headers.items()]
        method, body = ("GET", b"") if get else ("POST", document(object_event()))
        client.send(httpx.Request(method, "http://collector/epcis/v2/capture", headers=raw, content=body))
        client.forget()

    run()
    say(f"{sum(client.statuses.values())} requests, {dict(sorted(client.statuses.items()))}")
