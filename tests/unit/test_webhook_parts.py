"""The parts of webhooks: signatures by the standard's own library, where they may go, what may be asked, when it is tried again."""

import base64
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Receiver
from standardwebhooks.webhooks import WebhookVerificationError

from goodstrace.event_filter import event_filter
from services.query.epcis_problems import ParameterError, QueryProblemError
from services.query.webhooks.asked import read_query, read_resumption, read_subscription, wanted_of
from services.query.webhooks.guard import ForbiddenAddressError, Reach, check_addresses, checked_url
from services.query.webhooks.message import headers
from services.query.webhooks.schedule import wait_s
from services.query.webhooks.sender import Outcome, Sender
from services.query.webhooks.signing import read_secret, secret_text
from services.query.webhooks.values import Pending

SECRET = bytes(range(32))

# ---- signatures


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
def test_the_standards_own_library_verifies_what_we_sign(secret: bytes, text: str) -> None:
    body = text.encode("utf-8", "replace")
    sent = headers(Pending("msg_1", {}, 0), secret, body, "b", int(time.time()))
    receiver = Receiver(secret_text(secret))
    receiver.verify(body, sent, json_parse=False)
    for name, value in (
        ("webhook-id", "msg_2"),
        ("webhook-timestamp", str(int(sent["webhook-timestamp"]) - 1)),
        ("webhook-signature", "v1," + base64.b64encode(bytes(32)).decode()),
    ):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(body, {**sent, name: value}, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        receiver.verify(body + b" ", sent, json_parse=False)


def test_a_secret_is_read() -> None:
    text = secret_text(SECRET)
    assert read_secret(text) == read_secret(text.removeprefix("whsec_")) == SECRET
    for wrong in (
        "",
        "whsec_",
        "whsec_AAAA",
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "x" * 40 + "!",
    ):
        with pytest.raises(ParameterError):
            read_secret(wrong)


def test_what_may_be_said_at_resuming() -> None:
    assert read_resumption(b"") is read_resumption(b"{}") is None
    assert read_resumption(f'{{"signatureToken": "{secret_text(SECRET)}"}}'.encode()) == SECRET
    for body, field in (
        (b"[]", "the body"),
        (b'{"dest": "x"}', "dest"),
        (b'{"signatureToken": 1}', "signatureToken"),
    ):
        with pytest.raises(ParameterError) as refused:
            read_resumption(body)
        assert refused.value.field == field


# ---- where they may go

PRIVATE = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.255.0.1", "0.0.0.0", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
    "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_our_own_network_is_never_an_address_of_the_public(address: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_addresses([address], Reach.HTTPS)
    with pytest.raises(ForbiddenAddressError):
        check_addresses(["8.8.8.8", address], Reach.HTTPS)


def test_public_addresses_are_and_loopback_is_where_it_is_allowed() -> None:
    assert check_addresses(["8.8.8.8", "2606:4700::1111", "8.8.8.8"], Reach.HTTPS) == [
        "8.8.8.8",
        "2606:4700::1111",
    ]
    assert check_addresses(["64:ff9b::8.8.8.8"], Reach.HTTPS)
    assert check_addresses(["127.0.0.1", "::1"], Reach.LOOPBACK)
    for wrong in (["8.8.8.8"], ["127.0.0.1", "10.0.0.1"], ["::ffff:127.0.0.1"], []):
        with pytest.raises(ForbiddenAddressError):
            check_addresses(wrong, Reach.LOOPBACK)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "//example.com/", "ftp://example.com/", "http://example.com/", "file:///etc/passwd", "https://", "https:///x",
        "https://user@example.com/", "https://user:password@example.com/", "https://example.com/#here", "https://example.com:0/",
        "https://example.com:99999/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest",
        "https://exa mple.com/", "https://example.com/\nHost: x", "https://example.com\\@127.0.0.1/", "https://" + "x" * 2048,
    ],
)  # fmt: skip
def test_what_is_no_destination_is_refused(url: str) -> None:
    with pytest.raises(ParameterError):
        checked_url(url, Reach.HTTPS)


def test_destinations() -> None:
    assert checked_url("https://hooks.example.com:8443/in?x=1", Reach.HTTPS).port == 8443
    for url in ("http://127.0.0.1:9/", "http://localhost:9/", "https://[::1]/", "http://localhost"):
        assert checked_url(url, Reach.LOOPBACK)
    for url in (
        "http://example.com/",
        "https://8.8.8.8/",
        "http://localhost.example.com/",
        "http://10.0.0.1/",
    ):
        with pytest.raises(ParameterError):
            checked_url(url, Reach.LOOPBACK)


# ---- sending


class Network:
    """Names and servers as they are told; remembers where requests went."""

    def __init__(self, *addresses: str, answer: Any = None) -> None:
        self.addresses = addresses
        self.answer = answer or httpx.Response(200)
        self.requests: list[httpx.Request] = []

    async def resolve(self, _host: str, _port: int) -> list[str]:
        if not self.addresses:
            raise OSError("no such name")
        return list(self.addresses)

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: httpx.Response = self.answer
        return answer

    def sender(self, reach: Reach = Reach.HTTPS) -> Sender:
        return Sender(reach, 1, resolve=self.resolve, transport=httpx.MockTransport(self.handle))


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    network = Network("8.8.8.8", "9.9.9.9")
    sent = await network.sender().send("https://hooks.example.com:8443/in?x=1", {"webhook-id": "1"}, b"{}")
    assert sent.outcome is Outcome.DELIVERED
    [request] = network.requests
    assert str(request.url) == "https://8.8.8.8:8443/in?x=1"
    assert request.headers["host"] == "hooks.example.com:8443"
    assert request.extensions["sni_hostname"] == "hooks.example.com"


async def test_a_name_that_leads_into_our_network_is_not_followed_though_it_did_not_before() -> None:
    network = Network("8.8.8.8")
    sender = network.sender()
    assert (await sender.send("https://a.example/", {}, b"")).outcome is Outcome.DELIVERED
    network.addresses = ("8.8.8.8", "127.0.0.1")
    assert (await sender.send("https://a.example/", {}, b"")).outcome is Outcome.FORBIDDEN
    assert (await sender.send("http://a.example/", {}, b"")).outcome is Outcome.FORBIDDEN
    assert len(network.requests) == 1


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (httpx.Response(204), Outcome.DELIVERED, ""),
        (httpx.Response(301, headers={"Location": "http://127.0.0.1/"}), Outcome.REFUSED, "301:"),
        (httpx.Response(307, headers={"Location": "https://b.example/"}), Outcome.REFUSED, "307:"),
        (httpx.Response(400, text="no " * 1000), Outcome.REFUSED, "400: no"),
        (httpx.Response(410), Outcome.GONE, "410:"),
        (httpx.Response(503, headers={"Retry-After": "7"}), Outcome.REFUSED, "503:"),
        (httpx.ConnectError("refused"), Outcome.UNREACHABLE, "refused"),
        (httpx.ReadTimeout("slow"), Outcome.UNREACHABLE, "slow"),
    ],
)
async def test_what_a_receiver_answers(answer: Any, outcome: Outcome, detail: str) -> None:
    network = Network("8.8.8.8", answer=answer)
    sent = await network.sender().send("https://a.example/", {}, b"")
    assert sent.outcome is outcome
    assert sent.detail.startswith(detail)
    assert len(sent.detail) < 300
    assert sent.told_s == (7 if "Retry-After" in getattr(answer, "headers", {}) else 0)
    assert len(network.requests) == 1


async def test_a_name_that_is_unknown() -> None:
    assert (await Network().sender().send("https://a.example/", {}, b"")).outcome is Outcome.UNREACHABLE


# ---- when it is tried again


@given(st.integers(1, 100), st.floats(0.01, 3600), st.floats(0, 10**6))
def test_waits_grow_and_are_bounded(failures: int, longest_s: float, told_s: float) -> None:
    drawn = wait_s(failures, longest_s, told_s)
    assert 0 < drawn <= longest_s
    assert drawn >= min(told_s, longest_s)
    assert wait_s(failures, longest_s) <= max(0.5, 2.0 ** (failures - 1)) or failures > 60


# ---- what may be asked


def test_a_query_has_the_standards_parameters_and_ours() -> None:
    query = read_query(
        b'{"name":"q-1","query":{"eventType":["ObjectEvent"],"EQ_bizStep":["shipping","urn:epcglobal:cbv:bizstep:receiving"],'
        b'"GE_eventTime":"2026-01-01T00:00:00Z","goodstrace:key":"urn:epc:id:sgtin:9521234.054321.1","goodstrace:merchant":[2],'
        b'"goodstrace:prefix":["0614141"],"goodstrace:step":"sale"}}'
    )
    wanted = wanted_of(query.query, SECRET)
    assert wanted.events.lists["EQ_bizStep"] == ("receiving", "shipping")
    assert wanted.filter == event_filter(["urn:epc:id:sgtin:9521234.054321.1"], [2], ["sale"], ["0614141"])
    assert len(wanted.tags()) == 1
    assert wanted.names() == ("https://id.gs1.org/01/09521234543213/21/1",)
    assert wanted_of({}, SECRET).tags() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "the body"),
        (b"[]", "the body"),
        (b"\xff", "the body"),
        (b'{"query":{}}', "name"),
        (b'{"name":"a/b","query":{}}', "name"),
        (b'{"name":"a"}', "query"),
        (b'{"name":"a","query":{},"x":1}', "x"),
        (b'{"name":"a","query":{"EQ_quantity":"1"}}', "EQ_quantity"),
        (b'{"name":"a","query":{"EQ_bizStep":[]}}', "EQ_bizStep"),
        (b'{"name":"a","query":{"EQ_bizStep":[1]}}', "EQ_bizStep"),
        (b'{"name":"a","query":{"perPage":"5"}}', "perPage"),
        (b'{"name":"a","query":{"MATCH_epc":["urn:x"],"orderBy":"eventTime"}}', "orderBy"),
        (b'{"name":"a","query":{"MATCH_epc":["urn:x"],"maxEventCount":"5"}}', "orderBy"),
        (b'{"name":"a","query":{"goodstrace:prefix":["x"]}}', "goodstrace:prefix"),
        (b'{"name":"a","query":{"goodstrace:merchant":["2"]}}', "goodstrace:merchant"),
    ],
)
def test_a_query_that_is_wrong_says_where(body: bytes, field: str) -> None:
    with pytest.raises(QueryProblemError) as raised:
        read_query(body)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "dest"),
        (b'{"dest":"https://a.example/","signatureToken":"x"}', "signatureToken"),
        (b'{"dest":"https://a.example/","signatureToken":1}', "signatureToken"),
        (b'{"dest":"https://a.example/","schedule":{}}', "schedule"),
        (b'{"dest":"https://a.example/","stream":false}', "schedule"),
        (b'{"dest":"https://a.example/","reportIfEmpty":true}', "reportIfEmpty"),
        (b'{"dest":"https://a.example/","initialRecordTime":"2026-01-01T00:00:00Z"}', "initialRecordTime"),
        (b'{"dest":"https://a.example/","trigger":"x"}', "trigger"),
    ],
)
def test_a_subscription_that_is_wrong_says_where(body: bytes, field: str) -> None:
    with pytest.raises(QueryProblemError) as raised:
        read_subscription(body)
    assert raised.value.field == field


def test_a_subscription() -> None:
    read = read_subscription(b'{"dest":"https://a.example/","stream":true,"reportIfEmpty":false}')
    assert (read.dest, read.secret, read.from_beginning) == ("https://a.example/", None, False)
    text = secret_text(SECRET)
    body = f'{{"dest":"x","signatureToken":"{text}","initialRecordTime":"1970-01-01T00:00:00Z"}}'.encode()
    assert read_subscription(body).secret == SECRET
    assert read_subscription(body).from_beginning
