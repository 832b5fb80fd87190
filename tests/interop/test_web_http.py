"""The web pages behind a real HTTP server: nothing of a request becomes a header or a second answer; by TLS every answer asks for TLS."""

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest

from tests.certificates import World as Certificates
from tests.deadlines import DEADLINE_S
from tests.merchant_world import WORKS, MerchantWorld, person
from tests.unit.test_web_sign_in import World
from tests.unit.test_web_staff import AUDITORS, OPERATORS
from tests.web_staff import AUDITOR, OPERATOR, StaffWorld
from tests.web_world import FISH_KEY, ITEM_KEY, ITEM_PATH, WebWorld

MARK: Final = "xq7"
BREAKS: Final = (
    f"%0d%0aSet-Cookie:%20{MARK}=1", f"%0D%0A%0D%0A<script>{MARK}</script>", f"%0aX-{MARK}:1", f"%0dX-{MARK}:1", f"%250d%250aX-{MARK}:1",
    f"%E5%98%8A%E5%98%8DX-{MARK}:1", f"%c0%8d%c0%8aX-{MARK}:1", f"a%00%0d%0aLocation:%20//{MARK}.example", f"%u000d%u000aX-{MARK}:1",
    f"%5cr%5cnX-{MARK}:1", f"%e2%80%a8X-{MARK}:1", f"//{MARK}.example%0d%0aX-{MARK}:1",
)  # fmt: skip
"""Ends of lines, coded once and twice, as bytes of other codes, and as characters that some servers cut to them."""
PATHS: Final = (
    "/{}", "/01/{}", "/01/07038011002013/21/{}", "/01/07038011002013/10/{}", "/00/{}", "/web/static/{}", "/logs/{}", "/search?q={}", "/search?q=https://id.gs1.org/01/07038011002013/21/{}",
    "/trace?key={}", "/trace?key=urn:x:{}", "/bundle?key={}", "/face?key={}", "/label.svg?key={}", "/complete?key={}", "/?lang={}", "/?lang=en{}", "/{}?lang=zh-Hans",
    ITEM_PATH + "?linkType={}", ITEM_PATH + "?page={}", ITEM_PATH + "?depth={}", ITEM_PATH + "?lang={}", "/sign-in?back={}", "/sign-in?back=/{}", "/?{}=1",
)  # fmt: skip
HEADERS: Final = ("Accept-Language", "Accept", "Accept-Encoding", "Cookie", "If-None-Match", "Origin", "Referer", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Authorization")  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with World().served() as url:
        yield url


def _raw(url: str, request: bytes) -> tuple[str, dict[str, list[str]], bytes]:
    """Send bytes, and read all that comes until the server closes: status line, headers, body."""
    at = urlsplit(url)
    with socket.create_connection((str(at.hostname), at.port or 0), timeout=DEADLINE_S) as connection:
        connection.sendall(request)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert "\n" not in head.decode("latin-1").replace("\r\n", "")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    return first, headers, body


def _assert_own(first: str, headers: dict[str, list[str]], body: bytes, what: object) -> int:
    """See that an answer is one, and of this server's making; gives its status."""
    status = int(first.split(" ")[1])
    assert status < 500, (what, first)
    assert not [name for name in headers if MARK in name], what
    assert all(not re.search(rf"(^|;|\s){MARK}=", each) for each in headers.get("set-cookie", [])), what
    for each in headers.get("location", []):
        assert re.fullmatch(r"/(?![/\\])[!-~]*", each), (what, each)
    if "content-length" in headers:
        assert headers["content-length"] == [str(len(body))], what  # what came is one answer
    return status


def test_no_byte_of_an_address_becomes_a_header(served: str, tell: Callable[[str], None]) -> None:
    tried = 0
    for path in PATHS:
        for text in BREAKS:
            target = path.replace("{}", text)
            first, headers, body = _raw(
                served, f"GET {target} HTTP/1.1\r\nHost: pages.test\r\nConnection: close\r\n\r\n".encode()
            )
            _assert_own(first, headers, body, target)
            tried += 1
    tell(f"web: {tried} addresses with ends of lines in them made no header")


def test_no_byte_of_a_header_becomes_another(served: str, tell: Callable[[str], None]) -> None:
    tried = 0
    for name in HEADERS:
        for text in (
            *BREAKS,
            f"zh-CN,{BREAKS[0]};q=1",
            f"zh\r\n\tX-{MARK}: 1",
            f"zh\rX-{MARK}: 1",
            f"zh\nX-{MARK}: 1",
            f"zh\0X-{MARK}",
            "zh" * 3000,
        ):
            for path in ("/?lang=en", ITEM_PATH, "/sign-in"):
                request = (
                    f"GET {path} HTTP/1.1\r\nHost: pages.test\r\nConnection: close\r\n{name}: {text}\r\n\r\n"
                )
                _assert_own(*_raw(served, request.encode()), (name, text, path))
                tried += 1
    tell(f"web: {tried} headers with ends of lines in them made no other header")


def test_no_byte_of_a_form_becomes_a_header(served: str) -> None:
    with httpx.Client(base_url=served) as browser:
        page = browser.get("/sign-in").text
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    found = re.search(r'name="csrf" value="(\w+)"', page)
    assert found is not None
    for text in BREAKS:
        for field, status in (
            ("back", 303),
            ("name", 401),
            ("password", 401),
            ("code", 303),
            ("csrf", 403),
            ("challenge", 303),
            (text, 303),
        ):
            fields = {"csrf": found[1], "name": "ann", "password": "right%20horse", "back": "/"}
            form = "&".join(f"{name}={value}" for name, value in {**fields, field: text}.items())
            head = f"POST /sign-in HTTP/1.1\r\nHost: {urlsplit(served).netloc}\r\nConnection: close\r\nCookie: {cookies}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
            first, headers, body = _raw(served, (head + form).encode())
            got = _assert_own(first, headers, body, (field, text))
            assert got == status or (got == 400 and "%c0" in text), (field, text, first)  # which is no UTF-8


def _paths(world: WebWorld) -> list[tuple[str, str]]:
    """Every page that the server has, with something in the place of each parameter."""
    found = []
    for route in world.app.routes:
        path = re.sub(r"{(\w+)(:\w+)?}", "01", getattr(route, "path", ""))
        found += [(method, path) for method in sorted(getattr(route, "methods", None) or ())]
    return found


def test_by_tls_every_answer_asks_for_tls(tmp_path: Path, tell: Callable[[str], None]) -> None:
    certificates, tried = Certificates(tmp_path / "tls"), 0
    trusted = ssl.create_default_context(cafile=str(certificates.ca))
    tls = {"ssl_certfile": str(certificates.server.cert), "ssl_keyfile": str(certificates.server.key)}
    merchant = ("/merchant", "/merchant/flags", "/merchant/looks", "/merchant/places", "/merchant/staff", f"/merchant/recall?key={FISH_KEY}", f"/merchant/recall.csv?key={FISH_KEY}")  # fmt: skip
    everybody = (
        "/",
        ITEM_PATH,
        f"/bundle?key={ITEM_KEY}",
        "/scan",
        "/seals",
        "/01/1",
        "/nothing",
        "/web/static/page.js",
        "/web/static/none",
        "/sign-in",
        "/password",
        "/second-factor",
    )
    for world, whos in (
        (World(), ((None, everybody),)),
        (MerchantWorld(), ((person(WORKS), merchant),)),
        (StaffWorld(), ((AUDITOR, AUDITORS), (OPERATOR, OPERATORS))),
    ):
        with world.served(**tls) as url, httpx.Client(base_url=url, verify=trusted) as browser:
            for who, paths in whos:
                world.who = who or world.who
                for method, path in [*(("GET", each) for each in paths), *_paths(world)]:
                    answer = browser.request(method, path)
                    assert answer.headers.get("strict-transport-security", "").startswith("max-age="), (
                        method,
                        path,
                        answer.status_code,
                    )
                    tried += 1
    tell(f"web: {tried} answers by TLS ask for TLS")


def test_without_tls_no_answer_asks_for_it(served: str) -> None:
    at = urlsplit(served)
    connection = HTTPConnection(str(at.hostname), at.port or 0, timeout=DEADLINE_S)
    for path in ("/", ITEM_PATH, "/nothing"):
        connection.request("GET", path, headers={"X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        answer.read()
        assert answer.getheader("Strict-Transport-Security") is None
    connection.close()
