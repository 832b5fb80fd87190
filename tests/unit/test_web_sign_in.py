"""Signing in on the web: cookies, forms of other sites, fixation, renewal, and where cookies count."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from goodstrace.query.v1 import login_pb2
from services.query.accounts.errors import ChallengedError, refused
from services.query.web import session_cookies as cookies
from services.query.web.forms import MAX_FORM_BYTES
from services.query.web.signing_in import WebSignIn
from services.runtime.access.values import NOBODY
from services.runtime.errors import UnavailableError
from tests.web_world import ITEM_PATH, SHOPPER, WebWorld

SECRET = b"s" * 32


class Accounts:
    """LoginService as browsers meet it: one account, counted tokens; each refresh token counts once."""

    def __init__(self) -> None:
        self.totp = False
        self.issued, self.refreshed, self.signed_out = 0, 0, 0
        self.fails_with: Exception | None = None
        self.seen: list[Any] = []
        self.live: set[str] = set()

    def tokens(self) -> login_pb2.Tokens:
        self.issued += 1
        refresh = f"refresh-{self.issued}"
        self.live.add(refresh)
        return login_pb2.Tokens(access_token=f"access-{self.issued}", expires_in_s=300, refresh_token=refresh)

    async def SignIn(self, request: login_pb2.SignInRequest, context: Any) -> login_pb2.SignInResponse:  # noqa: N802
        self.seen.append((request, context.peer(), context.invocation_metadata()))
        if self.fails_with:
            raise self.fails_with
        if (request.name, request.password) != ("ann", "right horse"):
            raise refused()
        return login_pb2.SignInResponse(tokens=self.tokens(), device_token="device-1")

    async def SignOut(self, request: login_pb2.SignOutRequest, context: Any) -> login_pb2.SignOutResponse:  # noqa: N802
        self.signed_out += 1
        return login_pb2.SignOutResponse(ended=1)

    async def Refresh(self, request: login_pb2.RefreshRequest, context: Any) -> login_pb2.RefreshResponse:  # noqa: N802
        self.refreshed += 1
        if self.fails_with:
            raise self.fails_with
        if request.refresh_token not in self.live:
            raise refused()
        self.live.remove(request.refresh_token)
        return login_pb2.RefreshResponse(tokens=self.tokens())

    async def WhoAmI(self, request: login_pb2.WhoAmIRequest, context: Any) -> login_pb2.WhoAmIResponse:  # noqa: N802
        return login_pb2.WhoAmIResponse(name="ann", totp=self.totp)

    async def BeginTotp(  # noqa: N802
        self, request: login_pb2.BeginTotpRequest, context: Any
    ) -> login_pb2.BeginTotpResponse:
        if request.password != "right horse":
            raise refused()
        return login_pb2.BeginTotpResponse(secret="JBSWY3DP", uri="otpauth://totp/ann?secret=JBSWY3DP")

    async def ConfirmTotp(  # noqa: N802
        self, request: login_pb2.ConfirmTotpRequest, context: Any
    ) -> login_pb2.ConfirmTotpResponse:
        self.totp = True
        return login_pb2.ConfirmTotpResponse(recovery_codes=["aaaa-bbbb", "cccc-dddd"])

    async def RemoveTotp(  # noqa: N802
        self, request: login_pb2.RemoveTotpRequest, context: Any
    ) -> login_pb2.RemoveTotpResponse:
        self.totp = False
        return login_pb2.RemoveTotpResponse()


class World(WebWorld):
    """The pages, where the bearer token says who calls."""

    def __init__(self, public_url: str = "") -> None:
        self.accounts = Accounts()
        self.shown: list[str] = []
        super().__init__(sign_in=WebSignIn(self.accounts, SECRET, public_url))

    async def known(self, headers: Any, certificate_names: Any = ()) -> Any:
        told = dict(headers).get("authorization", "")
        self.shown.append(told)
        self.who = SHOPPER if told.startswith("Bearer access-") else NOBODY
        return await super().known(headers, certificate_names)


@pytest.fixture
def world() -> Iterator[World]:
    return World()


def client(world: World, scheme: str = "https") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url=f"{scheme}://pages.test")


async def form(asking: httpx.AsyncClient, path: str = "/sign-in") -> dict[str, str]:
    page = await asking.get(path)
    assert page.headers["cache-control"] == "no-store"
    token, back = (
        re.search(r'name="csrf" value="(\w+)"', page.text),
        re.search(r'name="back" value="([^"]*)"', page.text),
    )
    assert token
    return {"csrf": token[1], "back": back[1] if back else "", "name": "ann", "password": "right horse"}


async def test_one_signs_in_looks_and_signs_out(world: World) -> None:
    async with client(world) as asking:
        assert "Lofoten" not in (await asking.get(ITEM_PATH)).text
        fields = await form(asking, f"/sign-in?back={ITEM_PATH}")
        before = asking.cookies[f"__Host-{cookies.CSRF}"]
        done = await asking.post("/sign-in", data=fields, headers={"Origin": "https://pages.test"})
        assert (done.status_code, done.headers["location"]) == (303, ITEM_PATH)
        for cookie in done.headers.get_list("set-cookie"):
            assert cookie.startswith("__Host-")
            assert all(each in cookie for each in ("HttpOnly", "Secure", "Path=/", "SameSite=lax"))
            assert "Domain" not in cookie
        assert (
            asking.cookies[f"__Host-{cookies.CSRF}"] != before
        )  # whoever planted it knows nothing of the session
        page = await asking.get(ITEM_PATH)
        assert "Lofoten sea farm" in page.text
        assert "access-1" not in page.text
        assert "refresh-1" not in page.text
        leaving = await asking.post("/sign-out", data={"csrf": (await form(asking, "/"))["csrf"]})
        assert leaving.status_code == 303
        assert not {each for each in asking.cookies if "access" in each or "refresh" in each}
        assert "Lofoten" not in (await asking.get(ITEM_PATH)).text
        again = await form(asking)
        await asking.post("/sign-in", data=again)
        assert world.accounts.seen[-1][0].device_token == "device-1"


@pytest.mark.parametrize("change", [{"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "é"}])
async def test_a_form_of_another_site_signs_nobody_in_or_out(world: World, change: dict[str, str]) -> None:
    async with client(world) as asking:
        fields = await form(asking)
        for path in ("/sign-in", "/sign-out"):
            assert (await asking.post(path, data={**fields, **change})).status_code == 403
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert (await asking.post("/sign-in", data=fields, headers=headers)).status_code == 403
        asking.cookies.clear()
        assert (await asking.post("/sign-in", data=fields)).status_code == 403
    assert world.accounts.seen == []


async def test_the_token_of_one_session_is_none_of_another(world: World) -> None:
    assert cookies.csrf_token(SECRET, "a", "1") != cookies.csrf_token(SECRET, "a", "2")
    assert not cookies.is_own_form(SECRET, cookies.csrf_token(SECRET, "", ""), "", "")
    async with client(world) as one, client(world) as other:
        fields = await form(one)
        await form(other)
        assert (await other.post("/sign-in", data=fields)).status_code == 403


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "a\r\nSet-Cookie: evil=1",
        "javascript:alert(1)",
    ],
)
async def test_signing_in_leads_nowhere_else(world: World, back: str) -> None:
    async with client(world) as asking:
        page = await asking.get("/sign-in", params={"back": back})
        assert not re.search(r'name="back" value="(//|/\\|[^/])', page.text)
        done = await asking.post("/sign-in", data={**await form(asking), "back": back})
        location = done.headers["location"]
        assert re.fullmatch(r"/[!-~]*", location)
        assert not location.startswith(("//", "/\\"))
        assert "evil=1" not in str(done.headers.get_list("set-cookie"))


async def test_whatever_is_wrong_the_answer_is_the_same(world: World) -> None:
    async with client(world) as asking:
        fields = await form(asking)
        wrong = [
            await asking.post("/sign-in", data={**fields, **each})
            for each in ({"name": "bob"}, {"password": "x"}, {"password": ""})
        ]
        assert {each.status_code for each in wrong} == {401}
        assert len({re.sub(r'value="(\w{64}|ann|bob)"', "", each.text) for each in wrong}) == 1
        assert "right horse" not in wrong[0].text
        world.accounts.fails_with = ChallengedError("x", 20)
        assert (await asking.post("/sign-in", data=fields)).status_code == 429
        world.accounts.fails_with = UnavailableError("away")
        assert (await asking.post("/sign-in", data=fields)).status_code == 503
        assert (await asking.post("/sign-in", content=b"x" * (MAX_FORM_BYTES + 1))).status_code == 400
        assert (await asking.post("/sign-in", content=b"a=1&" * 50)).status_code == 400
        assert (await asking.post("/sign-in", content=b"\xff")).status_code == 400


async def test_a_session_is_renewed_once_for_all_that_ask(world: World) -> None:
    async with client(world) as asking:
        await asking.post("/sign-in", data=await form(asking))
        asking.cookies.delete(f"__Host-{cookies.ACCESS}")  # its time came
        pages = await asyncio.gather(*(asking.get(ITEM_PATH) for _ in range(5)))
        assert all("Lofoten sea farm" in each.text for each in pages)
        assert world.accounts.refreshed == 1
        assert all("refresh-2" in str(each.headers.get_list("set-cookie")) for each in pages)


async def test_a_session_that_is_over_is_forgotten(world: World) -> None:
    async with client(world) as asking:
        page = await asking.get("/", headers={"Cookie": f"__Host-{cookies.REFRESH}=stolen"})
        assert page.status_code == 200
        assert 'goodstrace-refresh=""; ' in str(page.headers.get_list("set-cookie"))
        world.accounts.fails_with = UnavailableError("away")
        page = await asking.get("/", headers={"Cookie": f"__Host-{cookies.REFRESH}=other"})
        assert page.status_code == 200
        assert "refresh" not in str(page.headers.get_list("set-cookie"))  # it may be a good one


async def test_cookies_count_for_pages_only(world: World) -> None:
    held = {"Cookie": f"__Host-{cookies.ACCESS}=access-1; {cookies.ACCESS}=access-2"}
    async with client(world) as asking:
        await asking.get("/", headers=held)
        assert world.shown[-1] == "Bearer access-1"
        await asking.get("/logs", headers=held)
        assert world.shown[-1] == ""
    async with client(
        world, "http"
    ) as asking:  # without TLS there is no prefix, and no cookie of that name counts with it
        await asking.get("/", headers=held)
        assert world.shown[-1] == "Bearer access-2"


async def test_where_accounts_are_off_there_is_no_sign_in() -> None:
    world = WebWorld()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app), base_url="http://pages.test"
    ) as asking:
        assert (await asking.get("/sign-in")).status_code == 404
        assert (await asking.post("/sign-in")).status_code == 404
        assert "/sign-in" not in (await asking.get("/")).text


async def test_behind_a_proxy_that_ends_tls_cookies_are_secure() -> None:
    world = World("https://pages.test")
    async with client(world, "http") as asking:
        page = await asking.get("/sign-in")
        cookie = page.headers["set-cookie"]
        assert cookie.startswith(f"__Host-{cookies.CSRF}=")
        assert "Secure" in cookie
        assert "strict-transport-security" in page.headers
        token = re.search(r'name="csrf" value="(\w+)"', page.text)
        assert token
        fields = {"csrf": token[1], "name": "ann", "password": "right horse"}
        headers = {"Cookie": cookie.partition(";")[0], "Origin": "https://pages.test"}
        assert (await asking.post("/sign-in", data=fields, headers=headers)).status_code == 303


async def test_work_that_is_asked_for_stands_in_the_form_and_its_solution_is_shown(world: World) -> None:
    async with client(world) as asking:
        fields = await form(asking, f"/sign-in?back={ITEM_PATH}")
        world.accounts.fails_with = ChallengedError("chal-lenge_1", 18)
        answer = await asking.post("/sign-in", data={**fields, "name": "<ann>"})
        assert answer.status_code == 429
        assert 'data-challenge="chal-lenge_1"' in answer.text
        assert 'data-bits="18"' in answer.text
        assert 'value="&lt;ann&gt;"' in answer.text
        assert f'value="{ITEM_PATH}"' in answer.text
        assert "right horse" not in answer.text
        assert "goodstrace login" in answer.text
        assert "worker-src 'self'" in answer.headers["content-security-policy"]
        world.accounts.fails_with = None
        for counter in ("", "x", "-1", "9" * 30):
            await asking.post("/sign-in", data={**fields, "challenge": "c", "counter": counter})
            assert not world.accounts.seen[-1][0].HasField("solution")
            fields = await form(asking, f"/sign-in?back={ITEM_PATH}")
        done = await asking.post("/sign-in", data={**fields, "challenge": "chal-lenge_1", "counter": "77"})
        assert done.status_code == 303
        assert world.accounts.seen[-1][0].solution.counter == 77


async def test_a_form_of_a_browser_that_tells_no_origin_is_taken_and_of_another_site_is_not(
    world: World,
) -> None:
    async with client(world) as asking:
        fields = await form(asking)
        for headers, status in (
            ({"Origin": "null"}, 403),
            ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": "null", "Sec-Fetch-Site": "same-site"}, 403),
            ({"Origin": "https://pages.test", "Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
        ):
            done = await asking.post("/sign-in", data=fields, headers=headers)
            assert done.status_code == status, headers


async def test_one_time_codes_are_begun_confirmed_and_ended(world: World) -> None:
    async with client(world) as asking:
        assert (await asking.get("/second-factor")).status_code == 401
        await asking.post("/sign-in", data=await form(asking))
        world.who = SHOPPER
        token = (await form(asking, "/second-factor"))["csrf"]
        wrong = await asking.post("/second-factor", data={"csrf": token, "do": "begin", "password": "x"})
        assert wrong.status_code == 400
        begun = await asking.post(
            "/second-factor", data={"csrf": token, "do": "begin", "password": "right horse"}
        )
        assert "JBSWY3DP" in begun.text
        assert "data:image/svg+xml;base64," in begun.text
        assert begun.headers["cache-control"] == "no-store"
        told = await asking.post("/second-factor", data={"csrf": token, "do": "confirm", "code": "1"})
        assert "aaaa-bbbb" in told.text
        assert "aaaa-bbbb" not in (await asking.get("/second-factor")).text
        assert "asked for at each sign-in" in (await asking.get("/second-factor")).text
        ended = await asking.post("/second-factor", data={"csrf": token, "do": "end", "password": "x"})
        assert "are not asked for" in ended.text
        stranger = await asking.post("/second-factor", data={"csrf": "0" * 64, "do": "end"})
        assert stranger.status_code == 403
