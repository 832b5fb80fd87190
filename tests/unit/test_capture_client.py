import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from goodstrace.capture import CaptureClient, Job, Problem
from goodstrace.errors import CallError
from goodstrace.retrying import ATTEMPTS
from tests.certificates import World
from tests.deadlines import DEADLINE_S

Handler = Callable[[httpx.Request], httpx.Response]
URL = "https://collector.test"
LOCATION = "/epcis/v2/capture/0a"


@pytest.fixture
def client_of() -> Iterator[Callable[[Handler], CaptureClient]]:
    """A client whose requests a function answers instead of a network."""
    made: list[CaptureClient] = []

    def make(handler: Handler) -> CaptureClient:
        client = CaptureClient(URL)
        client._http.close()
        client._http = httpx.Client(base_url=URL, transport=httpx.MockTransport(handler))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


ClientOf = Callable[[Handler], CaptureClient]


def test_an_accepted_document_is_a_job_that_runs(client_of: ClientOf) -> None:
    asked: list[httpx.Request] = []

    def collector(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(202, headers={"Location": LOCATION})

    job = client_of(collector).send(b'{"type": "EPCISDocument"}', error_behaviour="proceed")
    assert isinstance(job, Job)
    assert (job.location, job.running) == (LOCATION, True)
    (request,) = asked
    assert (request.method, request.url.path) == ("POST", "/epcis/v2/capture")
    assert request.content == b'{"type": "EPCISDocument"}'
    assert request.headers["Content-Type"] == "application/ld+json"
    assert request.headers["GS1-Capture-Error-Behaviour"] == "proceed"


@pytest.mark.parametrize("document", [b"<a/>", b"\xef\xbb\xbf \n<?xml version='1.0'?><a/>"])
def test_xml_is_sent_as_xml(client_of: ClientOf, document: bytes) -> None:
    def collector(request: httpx.Request) -> httpx.Response:
        assert request.headers["Content-Type"] == "application/xml"
        assert request.content == document
        return httpx.Response(202, headers={"Location": LOCATION})

    assert isinstance(client_of(collector).send(document), Job)


def test_a_refusal_gives_the_problem_with_the_places_of_its_faults(client_of: ClientOf) -> None:
    fault = {"pointer": "/epcisBody/eventList/0/action", "detail": "ADD, OBSERVE or DELETE, not SUBTRACT"}
    body = {"title": "Invalid document", "detail": "1 fault", "errors": [fault, "not a fault"]}
    problem = client_of(lambda _: httpx.Response(400, json=body)).send(b"{}")
    assert problem == Problem(400, "Invalid document", "1 fault", (fault,))
    assert problem.lines() == [
        "400 Invalid document: 1 fault",
        "  /epcisBody/eventList/0/action: ADD, OBSERVE or DELETE, not SUBTRACT",
    ]


@pytest.mark.parametrize("content", [b"<html>Not here</html>", b"[]", b"7", b"\xff\xfe"])
def test_a_refusal_that_is_no_problem_document_is_a_problem_all_the_same(
    client_of: ClientOf, content: bytes
) -> None:
    problem = client_of(lambda _: httpx.Response(404, content=content)).send(b"{}")
    assert isinstance(problem, Problem)
    assert (problem.status, problem.title, problem.errors) == (404, "Not Found", ())


@pytest.mark.parametrize("status", [500, 503])
def test_a_collector_that_cannot_take_it_now_is_a_call_error(client_of: ClientOf, status: int) -> None:
    with pytest.raises(CallError, match=rf"^{status}: Kafka is away$") as raised:
        client_of(lambda _: httpx.Response(status, text="Kafka is away\n")).send(b"{}")
    assert raised.value.code == str(status)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waited, without its waiting."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def test_a_collector_that_cannot_be_reached_is_a_call_error(client_of: ClientOf, waited: list[float]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    for call in (lambda client: client.send(b"{}"), lambda client: client.job(LOCATION)):
        with pytest.raises(CallError, match="connection refused") as raised:
            call(client_of(refuse))
        assert raised.value.code == "UNAVAILABLE"
    assert len(waited) == 2 * (ATTEMPTS - 1)


@pytest.mark.parametrize("broken", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError])
def test_a_connection_that_breaks_is_tried_again(
    client_of: ClientOf, waited: list[float], broken: type[httpx.TransportError]
) -> None:
    bodies: list[bytes] = []

    def collector(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) < ATTEMPTS:
            raise broken("the collector is started again", request=request)
        return httpx.Response(202, headers={"Location": LOCATION})

    assert isinstance(client_of(collector).send(b"{}"), Job)
    assert bodies == [b"{}"] * ATTEMPTS
    assert waited == sorted(waited)
    assert 0 < sum(waited) <= 3


def nobody_knows(*_: object, **__: object) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def nobody_can_say(*_: object, **__: object) -> NoReturn:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize(("looked_up", "times"), [(nobody_knows, 0), (nobody_can_say, ATTEMPTS - 1)])
def test_a_host_that_nobody_knows_is_not_asked_for_again(
    waited: list[float], monkeypatch: pytest.MonkeyPatch, looked_up: Callable[..., NoReturn], times: int
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    with CaptureClient("http://collector.test") as client, pytest.raises(CallError) as raised:
        client.job(LOCATION)
    assert raised.value.code == "UNAVAILABLE"
    assert len(waited) == times


def test_a_certificate_that_is_not_believed_is_not_asked_for_again(
    waited: list[float], tmp_path: Path
) -> None:
    world = World(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server.cert, world.server.key)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        serving = threads.submit(serve)
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        with CaptureClient(url) as client, pytest.raises(CallError, match="CERTIFICATE_VERIFY_FAILED"):
            client.job(LOCATION)
        serving.result(DEADLINE_S)
    assert not waited


def test_a_server_that_ends_within_a_handshake_is_tried_again(
    client_of: ClientOf, waited: list[float]
) -> None:
    def ends(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("EOF", request=request) from ssl.SSLEOFError("EOF")

    with pytest.raises(CallError):
        client_of(ends).job(LOCATION)
    assert len(waited) == ATTEMPTS - 1


def test_what_ran_out_of_time_is_not_sent_again(client_of: ClientOf, waited: list[float]) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer", request=request)

    with pytest.raises(CallError, match="no answer"):
        client_of(slow).send(b"{}")
    assert not waited


def test_a_job_is_followed_until_it_no_longer_runs(client_of: ClientOf) -> None:
    answers = iter(
        [
            {"running": True},
            {"running": True},
            {"running": False, "success": False, "errors": [{"title": "x"}]},
        ]
    )
    seen: list[bool] = []
    client = client_of(lambda _: httpx.Response(200, json=next(answers)))
    job = client.wait(Job(LOCATION, {"running": True}), on_progress=lambda each: seen.append(each.running))
    assert seen == [True, True, False]
    assert (job.running, job.success, job.errors) == (False, False, [{"title": "x"}])


def test_a_collector_that_cannot_tell_how_a_job_stands_now_is_asked_again(
    client_of: ClientOf, waited: list[float]
) -> None:
    answers = iter(
        [
            httpx.Response(200, json={"running": True}),
            *(httpx.Response(503, text="the store is away") for _ in range(3)),
            httpx.Response(200, json={"running": False, "success": True}),
        ]
    )
    assert client_of(lambda _: next(answers)).wait(Job(LOCATION, {"running": True})).success
    assert len(waited) == 4


def test_one_that_cannot_tell_it_for_too_long_is_a_call_error_and_so_is_any_other(
    client_of: ClientOf,
) -> None:
    for status, deadline_s in ((503, 0), (500, 60)):
        client = client_of(lambda _, status=status: httpx.Response(status, text="no"))  # type: ignore[misc]
        with pytest.raises(CallError, match="no") as raised:
            client.wait(Job(LOCATION, {"running": True}), deadline_s=deadline_s)
        assert raised.value.code == str(status)


def test_a_job_that_never_ends_is_given_up(client_of: ClientOf) -> None:
    client = client_of(lambda _: httpx.Response(200, json={"running": True}))
    with pytest.raises(CallError, match=f"{LOCATION} still runs") as raised:
        client.wait(Job(LOCATION, {}), deadline_s=0)
    assert raised.value.code == "DEADLINE_EXCEEDED"


def test_a_job_that_is_not_there_is_a_call_error(client_of: ClientOf) -> None:
    with pytest.raises(CallError, match="404: no such capture"):
        client_of(lambda _: httpx.Response(404, text="no such capture")).job(LOCATION)


def test_a_job_without_errors_has_none() -> None:
    assert Job(LOCATION, {"running": False, "success": True, "errors": None}).errors == []


def test_a_job_counts_its_verdicts() -> None:
    counts = {"accepted": 2, "duplicate": 1}
    assert Job(LOCATION, {"counts": counts}).counts == {"accepted": 2, "duplicate": 1, "rejected": 0}
    assert set(Job(LOCATION, {}).counts.values()) == {0}


def test_over_a_rate_it_waits_as_long_as_it_is_told_and_sends_again(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("goodstrace.capture.time.sleep", waited.append)
    answers = [
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(429, headers={"Retry-After": "2"}),
        httpx.Response(202, headers={"Location": LOCATION}),
        httpx.Response(429, headers={"Retry-After": "9999"}, json={"title": "TooManyRequests"}),
        httpx.Response(429, headers={"Retry-After": "soon"}, json={"title": "TooManyRequests"}),
    ]
    client = client_of(lambda _: answers.pop(0))
    assert isinstance(client.send(b"{}"), Job)
    assert waited == [7, 2]
    for _ in range(2):  # longer than a request may take, or not told in seconds: for the caller to decide
        assert isinstance(client.send(b"{}"), Problem)
    assert waited == [7, 2]


def test_the_api_key_goes_with_every_request() -> None:
    shown: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers.get("authorization"))
        return httpx.Response(200, json={})

    for client in (CaptureClient(URL, token="gst_x"), CaptureClient(URL)):
        client._http._transport = httpx.MockTransport(answer)
        client.job("/epcis/v2/capture/1")
    assert shown == ["Bearer gst_x", None]
