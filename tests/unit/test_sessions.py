"""Sessions that are kept: renewed by themselves, by one of many at a time, where only their owner may read them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest

from goodstrace.bearer import BearerAuth, authorized
from goodstrace.errors import CallError, CredentialsError, SignedOutError
from goodstrace.login import LoginClient, solve
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.session import Renewed, StoredSession
from goodstrace.session_store import (
    FileSessions,
    KeyringSessions,
    Session,
    SessionStore,
    keyring_backend,
    sessions_in,
)
from goodstrace.token_sources import ClientCredentials, FixedToken, Issued, TokenFile, as_source
from tests.fake_login import FakeLogin, serving

NAME = "query.example:443"
PASSWORD = "a long password of ann"
KEPT = Session("ann", "access", 50.0, 60.0, "refresh", "device", ("collector.example",))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FakeLogin]:
    with serving(f"unix:{tmp_path}/s") as made:
        made.add("ann", PASSWORD, "auditor")
        yield made


class FakeBackend:
    """A keyring in memory, as the library keyring has its backends; told to fail."""

    name = "fake"
    priority = 5.0

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.fails = False

    def get_password(self, service: str, name: str) -> str | None:
        if self.fails:
            raise OSError("locked")
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        if self.fails:
            raise OSError("locked")
        self.kept[service, name] = password


# -- where sessions are kept ---------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "keyring"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SessionStore:
    folder = tmp_path / "sessions"
    return FileSessions(folder) if request.param == "file" else KeyringSessions(folder, FakeBackend())


def test_a_session_is_kept_under_its_name(store: SessionStore) -> None:
    assert store.get(NAME) is None
    with store.alone(NAME):
        store.put(NAME, KEPT)
    assert store.get(NAME) == KEPT
    assert store.get(f"{NAME} auditor") is None
    store.put(NAME, KEPT.ended())
    assert store.get(NAME) == Session("ann", device_token="device", hosts=("collector.example",))


def test_no_repr_shows_a_token() -> None:
    assert not any(secret in repr(KEPT) for secret in ("access'", "'refresh", "'device"))


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    store = FileSessions(tmp_path / "sessions")
    with store.alone(NAME):
        store.put(NAME, KEPT)
    files = sorted((tmp_path / "sessions").iterdir())
    assert [(each.name, each.stat().st_mode & 0o777) for each in files] == [
        (".query.example%3A443.lock", 0o600),
        ("query.example%3A443.json", 0o600),
    ]
    assert (tmp_path / "sessions").stat().st_mode & 0o777 == 0o700
    store.put("x/" * 200, KEPT)
    assert store.get("x/" * 200) == KEPT


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    store = FileSessions(tmp_path)
    store.put(NAME, KEPT)
    path = tmp_path / "query.example%3A443.json"
    path.chmod(mode)
    with pytest.raises(CredentialsError, match=rf"open to others \(mode {mode:o}\).*chmod 600"):
        store.get(NAME)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"user": 1}', b"\xff", b"[" * 10_000])
def test_a_file_that_is_no_session_is_told(tmp_path: Path, text: bytes) -> None:
    store = FileSessions(tmp_path)
    store.put(NAME, KEPT)
    path = tmp_path / "query.example%3A443.json"
    path.write_bytes(text)
    with pytest.raises(CredentialsError, match="sign in again: goodstrace login"):
        store.get(NAME)


def test_a_keyring_that_fails_is_told(tmp_path: Path) -> None:
    backend = FakeBackend()
    backend.fails = True
    with pytest.raises(CredentialsError, match="GOODSTRACE_KEYRING=off"):
        KeyringSessions(tmp_path, backend).get(NAME)


def test_a_keyring_is_used_where_one_really_keeps_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FakeBackend()
    library = SimpleNamespace(get_keyring=lambda: backend)
    monkeypatch.setitem(sys.modules, "keyring", library)
    assert isinstance(sessions_in(tmp_path), KeyringSessions)
    assert isinstance(sessions_in(tmp_path, keyring=False), FileSessions)
    backend.priority = 0.5  # in clear text
    assert isinstance(sessions_in(tmp_path), FileSessions)

    def failing() -> Any:
        raise RuntimeError("no D-Bus")

    library.get_keyring = failing
    assert keyring_backend() is None
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert isinstance(sessions_in(tmp_path), FileSessions)


# -- renewing ------------------------------------------------------------------------------------------------------


class Renewals:
    """Gives tokens by number, or fails as it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.shown: list[str] = []
        self.fails: CallError | None = None

    def __call__(self, refresh_token: str) -> Renewed:
        self.shown.append(refresh_token)
        if self.fails is not None:
            raise self.fails
        number = len(self.shown)
        return Renewed(Issued.now(f"access-{number}", 60, self.now_s), f"refresh-{number}")


def stored(store: SessionStore, renewals: Renewals, **options: Any) -> StoredSession:
    return StoredSession(store, NAME, renewals, now_s=lambda: renewals.now_s, **options)


def test_a_token_is_renewed_before_it_ends_and_when_it_is_refused(store: SessionStore) -> None:
    store.put(NAME, KEPT)
    renewals = Renewals()
    session = stored(store, renewals)
    assert session.token() == "access"
    renewals.now_s = 50
    assert session.token() == session.token() == "access-1"
    assert session.renewed("access-1") == "access-2"
    assert session.renewed("access-1") == "access-2"  # another thread has it already
    assert renewals.shown == ["refresh", "refresh-1"]
    assert stored(store, renewals).token() == "access-2"
    kept = store.get(NAME)
    assert kept is not None
    assert (kept.refresh_token, kept.device_token, kept.hosts) == (
        "refresh-2",
        "device",
        ("collector.example",),
    )


def test_what_another_process_got_is_taken(store: SessionStore) -> None:
    store.put(NAME, KEPT)
    renewals = Renewals()
    one, other = stored(store, renewals), stored(store, renewals)
    assert one.token() == other.token() == "access"
    assert one.renewed("access") == other.renewed("access") == "access-1"
    assert renewals.shown == ["refresh"]


def test_a_session_that_has_ended_says_to_sign_in_again(store: SessionStore) -> None:
    store.put(NAME, KEPT)
    renewals = Renewals()
    renewals.now_s, renewals.fails = 55, CallError("UNAUTHENTICATED", "no")
    again = r"has ended: sign in again: goodstrace login --query q"
    session = stored(store, renewals, how="goodstrace login --query q")
    for _ in range(2):
        with pytest.raises(SignedOutError, match=again):
            session.token()
    assert renewals.shown == ["refresh"]  # which is not shown again
    kept = store.get(NAME)
    assert kept is not None
    assert (kept.lost, kept.is_open, kept.user) == (True, False, "ann")
    with pytest.raises(SignedOutError, match="nobody is signed in"):
        StoredSession(store, "another", renewals).token()


def test_while_the_service_is_away_a_token_counts_to_its_end(store: SessionStore) -> None:
    store.put(NAME, KEPT)
    renewals = Renewals()
    renewals.now_s, renewals.fails = 55, CallError("UNAVAILABLE", "away")
    session = stored(store, renewals)
    assert session.token() == "access"
    with pytest.raises(CallError, match="UNAVAILABLE"):
        session.renewed("access")
    renewals.now_s = 60
    with pytest.raises(CallError, match="UNAVAILABLE"):
        session.token()
    renewals.fails = None
    assert session.token().startswith("access-")


def test_who_has_a_password_at_hand_signs_in_by_itself(store: SessionStore) -> None:
    renewals = Renewals()
    known: list[Session | None] = []

    def sign_in(before: Session | None) -> Session:
        known.append(before)
        return KEPT

    session = stored(store, renewals, sign_in=sign_in)
    assert session.token() == "access"
    renewals.fails = CallError("UNAUTHENTICATED", "no")
    renewals.now_s = 51
    assert session.token() == "access"
    assert renewals.shown == ["refresh"]
    assert known[0] is None
    assert known[1] is not None
    assert known[1].device_token == "device"


def test_a_short_life_is_renewed_within_its_last_quarter() -> None:
    assert Issued.now("t", 300, 1000) == Issued("t", 1270, 1300)
    assert Issued.now("t", 30, 1000) == Issued("t", 1022.5, 1030)


PROCESS = """
import sys, pathlib
from functools import partial
from goodstrace.login import LoginClient
from goodstrace.session import StoredSession
from goodstrace.session_store import FileSessions
target, folder, rounds = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
client = LoginClient(target)
session = StoredSession(FileSessions(folder), target, client.refresh)
calls = LoginClient(target, session)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    session.renewed(session.token())
    assert calls.who_am_i().name == "ann"
"""


def test_four_processes_renew_one_session_and_none_shows_a_token_twice(
    world: FakeLogin, tmp_path: Path
) -> None:
    store = FileSessions(tmp_path / "sessions")
    with LoginClient(world.target) as client:
        store.put(world.target, client.sign_in("ann", PASSWORD))
    rounds = 10
    command = [sys.executable, "-c", PROCESS, world.target, str(tmp_path / "sessions"), str(rounds)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in processes:
        each.communicate(timeout=60)
    assert [each.returncode for each in processes] == [0] * 4
    assert world.reused == 0
    assert len(world.sessions) == 1
    assert rounds <= world.refreshes <= 4 * rounds


def test_four_processes_that_find_a_token_at_its_end_renew_it_once(world: FakeLogin, tmp_path: Path) -> None:
    store = FileSessions(tmp_path / "sessions")
    with LoginClient(world.target) as client:
        kept = client.sign_in("ann", PASSWORD)
    store.put(world.target, kept.with_tokens(Issued(kept.access_token, 0, 0), kept.refresh_token))
    script = PROCESS.replace("session.renewed(session.token())", "session.token()")
    command = [sys.executable, "-c", script, world.target, str(tmp_path / "sessions"), "1"]
    processes = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(4)]
    assert [each.wait(60) for each in processes] == [0] * 4
    assert (world.refreshes, world.reused) == (1, 0)


# -- other sources -------------------------------------------------------------------------------------------------


def test_a_file_is_read_again_where_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = TokenFile(path)
    with pytest.raises(CredentialsError, match="cannot read"):
        source.token()
    path.write_text("one\n")
    assert source.token() == "one"
    (tmp_path / "next").write_text("two")
    (tmp_path / "next").replace(path)  # as Kubernetes does
    assert source.token() == "two"
    stamp = path.stat().st_mtime_ns
    path.write_text("six")
    os.utime(path, ns=(stamp, stamp))
    assert source.renewed("two") == "six"
    path.write_text(" ")
    with pytest.raises(CredentialsError, match="is empty"):
        source.token()


def test_a_programs_token_is_issued_anew_before_its_end(world: FakeLogin) -> None:
    world.add("shop-web", "its secret", "platform", kind="service")
    now_s = time.time()
    ahead_s = [0.0]
    with LoginClient(world.target) as client:
        source = ClientCredentials(
            partial(client.issued, "shop-web", "its secret"), lambda: now_s + ahead_s[0]
        )
        first = source.token()
        assert first == source.token()
        ahead_s[0] = 290
        second = source.token()
        assert second != first
        ahead_s[0] = 0
        assert source.renewed(first) == second
        with pytest.raises(CallError, match="UNAUTHENTICATED"):
            client.issued("shop-web", "another")
        with LoginClient(world.target, source) as calls:
            world.issued.clear()
            assert calls.who_am_i().name == "shop-web"


def test_an_api_key_stays_what_it_is() -> None:
    assert FixedToken("gst_x").renewed("gst_x") == as_source("gst_x").token() == "gst_x"
    assert as_source(None).token() == ""


# -- showing them --------------------------------------------------------------------------------------------------


class Numbered:
    def __init__(self) -> None:
        self.number = 1

    def token(self) -> str:
        return f"t{self.number}"

    def renewed(self, refused: str) -> str:
        if refused == self.token():
            self.number += 1
        return self.token()


def test_a_refused_call_is_made_once_more_with_another_token(world: FakeLogin) -> None:
    with LoginClient(world.target) as client:
        store = FileSessions(Path(world.target.removeprefix("unix:")).parent / "sessions")
        store.put("s", client.sign_in("ann", PASSWORD))
        session = StoredSession(store, "s", client.refresh)
        with LoginClient(world.target, session) as calls:
            assert calls.who_am_i().name == "ann"
            world.refuse_access_tokens()
            assert calls.who_am_i().name == "ann"
            assert world.refreshes == 1
            world.end_sessions()
            with pytest.raises(SignedOutError, match="sign in again: goodstrace login"):
                calls.who_am_i()
    with LoginClient(world.target, Numbered()) as calls:
        world.shown.clear()
        with pytest.raises(CallError, match="UNAUTHENTICATED"):
            calls.who_am_i()
        assert world.shown == ["t1", "t2"]
        with pytest.raises(CallError, match="UNAUTHENTICATED"):
            calls.change_password("guess", "another password")
        assert world.calls.count("ChangePassword") == 1  # a password is not tried twice


def test_a_refused_stream_is_begun_once_more(tmp_path: Path) -> None:
    shown: list[str] = []

    class Service(trace_pb2_grpc.TraceServiceServicer):
        def StreamTrace(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
            shown.append(dict(context.invocation_metadata()).get("authorization", ""))
            if shown[-1] != "Bearer t2":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            yield trace_pb2.StreamTraceResponse()
            if request.trace.key == "breaks":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "not any more")

    server = grpc.server(ThreadPoolExecutor(2))
    trace_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)
    server.add_insecure_port(f"unix:{tmp_path}/t")
    server.start()
    try:
        with grpc.insecure_channel(f"unix:{tmp_path}/t") as channel:
            stub = trace_pb2_grpc.TraceServiceStub(authorized(channel, Numbered()))
            assert len(list(stub.StreamTrace(trace_pb2.StreamTraceRequest()))) == 1
            assert shown == ["Bearer t1", "Bearer t2"]
            request = trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key="breaks"))
            stub = trace_pb2_grpc.TraceServiceStub(authorized(channel, Numbered()))
            call = stub.StreamTrace(request)
            next(call)
            with pytest.raises(grpc.RpcError) as caught:
                next(call)  # what was shown already cannot be shown again
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert len(shown) == 4
            call.cancel()
            fixed = trace_pb2_grpc.TraceServiceStub(authorized(channel, FixedToken("x")))
            with pytest.raises(grpc.RpcError):
                next(fixed.StreamTrace(request))
            assert len(shown) == 5
    finally:
        server.stop(None).wait()


def test_a_refused_request_is_sent_once_more_with_its_body() -> None:
    seen: list[tuple[str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers.get("authorization", ""), request.content))
        return httpx.Response(200 if seen[-1][0] == "Bearer t2" else 401)

    transport = httpx.MockTransport(answer)
    with httpx.Client(auth=BearerAuth(Numbered()), transport=transport, base_url="http://x") as client:
        assert client.post("/", content=b"body").status_code == 200
    assert seen == [("Bearer t1", b"body"), ("Bearer t2", b"body")]
    for source, requests in ((FixedToken("x"), ["Bearer x"]), (FixedToken(), [""])):
        seen.clear()
        with httpx.Client(auth=BearerAuth(source), transport=transport, base_url="http://x") as client:
            assert client.get("/").status_code == 401
        assert [shown for shown, _ in seen] == requests


# -- the work before a sign-in -------------------------------------------------------------------------------------


def test_a_challenge_is_solved_and_told(world: FakeLogin) -> None:
    world.zero_bits = 17
    told: list[float] = []
    with LoginClient(world.target) as client:
        session = client.sign_in("Ann", PASSWORD, progress=told.append)
        assert (session.user, session.is_open) == ("ann", True)
        with pytest.raises(CallError, match="UNAUTHENTICATED"):
            client.sign_in("ann", "wrong")
    solve("another", 18, told.append)
    assert told == sorted(told) or min(told) > 0


def test_more_work_than_anybody_should_do_is_refused(world: FakeLogin) -> None:
    world.zero_bits = 29
    with LoginClient(world.target) as client, pytest.raises(CallError, match="work of 29 bits"):
        client.sign_in("ann", PASSWORD)


def test_a_device_is_known_again_for_its_user_alone(world: FakeLogin) -> None:
    with LoginClient(world.target) as client:
        first = client.sign_in("ann", PASSWORD)
        assert client.sign_in("ann", PASSWORD, known=first.ended()).device_token == first.device_token
        world.add("bob", PASSWORD, "shopper")
        assert client.sign_in("bob", PASSWORD, known=first).device_token != first.device_token
