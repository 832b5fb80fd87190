"""A LoginService and an AccountService in memory, on a real gRPC port: what clients and commands see of them, and nothing of how they keep it."""

# ruff: noqa: N802 - the names of the methods are gRPC's

import hashlib
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from goodstrace.query.v1 import login_pb2, login_pb2_grpc

CODE = "123456"
OPERATOR_TOKEN = "operator-token-of-the-fake"
SECRET = "otpauth://totp/goodstrace:ann?secret=JBSWY3DPEHPK3PXP&issuer=goodstrace"


@dataclass
class FakeSession:
    account: str
    id: str
    access: set[str] = field(default_factory=set)  # those that count: they do to their end, renewed or not
    refresh: str = ""
    spent: set[str] = field(default_factory=set)


class FakeLogin:
    """The services, and what a test may do to them.

    Attributes: accounts and passwords by name; totp, the names that use codes; life_s, of access tokens; zero_bits, of the work before a
    sign-in, 0 for none; refreshes, how many there were; reused, how often a spent refresh token came; calls, by method.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, login_pb2.Account] = {}
        self.passwords: dict[str, str] = {}
        self.totp: set[str] = set()
        self.must_change: set[str] = set()
        self.sessions: dict[str, FakeSession] = {}
        self.issued: dict[str, str] = {}
        self.life_s = 300
        self.zero_bits = 0
        self.refreshes = self.reused = 0
        self.calls: list[str] = []
        self.shown: list[str] = []
        self.away = False
        self.lock = threading.RLock()
        self.target = ""

    def add(self, name: str, password: str, *roles: str, kind: str = "user", merchant: int = 0) -> None:
        account = login_pb2.Account(
            id=hashlib.sha256(name.encode()).hexdigest()[:32],
            name=name,
            kind=kind,
            roles=roles,
            merchant=merchant,
            status="active",
            created_ms=1,
        )
        self.accounts[name], self.passwords[name] = account, password

    def end_sessions(self, name: str = "") -> int:
        ended = [each.id for each in self.sessions.values() if not name or each.account == name]
        for each in ended:
            del self.sessions[each]
        return len(ended)

    def refuse_access_tokens(self) -> None:
        """Let access tokens be refused as if their end had come, while the sessions go on."""
        for each in self.sessions.values():
            each.access.clear()

    def begin(self, name: str) -> login_pb2.Tokens:
        session = FakeSession(name, secrets.token_hex(16))
        self.sessions[session.id] = session
        return self.tokens(session)

    def tokens(self, session: FakeSession) -> login_pb2.Tokens:
        access, session.refresh = f"access-{secrets.token_hex(8)}", f"refresh-{secrets.token_hex(8)}"
        session.access.add(access)
        return login_pb2.Tokens(access_token=access, expires_in_s=self.life_s, refresh_token=session.refresh)

    def caller(self, context: Any) -> Any:
        bearer = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer ")
        self.shown.append(bearer)
        if bearer == OPERATOR_TOKEN:
            return FakeSession("operator-token", "")
        if bearer in self.issued:
            return FakeSession(self.issued[bearer], "")
        for each in self.sessions.values():
            if bearer in each.access:
                return each
        return refuse(context)


def refuse(context: Any, detail: str = "who calls cannot be told") -> Any:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, detail)


class _Login(login_pb2_grpc.LoginServiceServicer):
    def __init__(self, world: FakeLogin) -> None:
        self.world = world

    def SignIn(self, request: Any, context: Any) -> Any:
        world = self.world
        if world.zero_bits and not self._worked(request.solution):
            self._challenge(context)
        name = request.name.lower()
        code_counts = name not in world.totp or request.code == CODE
        if world.passwords.get(name) != request.password or not request.password or not code_counts:
            refuse(context, "name, password or code is wrong")
        device = request.device_token or f"device-{secrets.token_hex(8)}"
        return login_pb2.SignInResponse(tokens=world.begin(name), device_token=device)

    def _worked(self, solution: Any) -> bool:
        digest = hashlib.sha256(solution.challenge.encode() + solution.counter.to_bytes(8)).digest()
        return (
            solution.challenge == "a challenge"
            and int.from_bytes(digest) >> (256 - self.world.zero_bits) == 0
        )

    def _challenge(self, context: Any) -> None:
        challenge = login_pb2.Challenge(challenge="a challenge", zero_bits=self.world.zero_bits)
        details = [any_pb2.Any(), any_pb2.Any()]
        details[0].Pack(error_details_pb2.ErrorInfo(reason="RATE_LIMITED"))
        details[1].Pack(challenge)
        status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="many try", details=details)
        context.abort_with_status(rpc_status.to_status(status))

    def Refresh(self, request: Any, context: Any) -> Any:
        world = self.world
        with world.lock:
            if world.away:
                context.abort(grpc.StatusCode.UNAVAILABLE, "away")
            world.refreshes += 1
            for session in list(world.sessions.values()):
                if request.refresh_token in session.spent:
                    world.reused += 1
                    del world.sessions[session.id]
                elif request.refresh_token == session.refresh:
                    session.spent.add(session.refresh)
                    return login_pb2.RefreshResponse(tokens=world.tokens(session))
        return refuse(context)

    def IssueToken(self, request: Any, context: Any) -> Any:
        if self.world.passwords.get(request.client_id) != request.client_secret:
            refuse(context)
        token = f"issued-{secrets.token_hex(8)}"
        self.world.issued[token] = request.client_id
        return login_pb2.IssueTokenResponse(
            tokens=login_pb2.Tokens(access_token=token, expires_in_s=self.world.life_s)
        )

    def SignOut(self, request: Any, context: Any) -> Any:
        who = self.world.caller(context)
        if request.everywhere:
            return login_pb2.SignOutResponse(ended=self.world.end_sessions(who.account))
        ended = self.world.sessions.pop(request.session or who.id, None)
        return login_pb2.SignOutResponse(ended=int(ended is not None))

    def WhoAmI(self, request: Any, context: Any) -> Any:
        who = self.world.caller(context)
        account = self.world.accounts.get(who.account, login_pb2.Account(name="operator", roles=["operator"]))
        return login_pb2.WhoAmIResponse(
            name=account.name,
            roles=account.roles,
            merchant=account.merchant,
            means="token",
            session=who.id,
            totp=account.name in self.world.totp,
            change_password=account.name in self.world.must_change,
        )

    def ListSessions(self, request: Any, context: Any) -> Any:
        who = self.world.caller(context)
        listed = [
            login_pb2.Session(id=each.id, begun_ms=1, used_ms=2, network="192.0.2.0/24", current=each is who)
            for each in self.world.sessions.values()
            if each.account == who.account
        ]
        return login_pb2.ListSessionsResponse(sessions=listed)

    def ChangePassword(self, request: Any, context: Any) -> Any:
        self.world.calls.append("ChangePassword")
        who = self.world.caller(context)
        code_counts = who.account not in self.world.totp or request.code == CODE
        if self.world.passwords[who.account] != request.password or not code_counts:
            refuse(context)
        if len(request.new_password) < 12:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "new_password: at least 12 characters")
        self.world.passwords[who.account] = request.new_password
        self.world.must_change.discard(who.account)
        self.world.end_sessions(who.account)
        return login_pb2.ChangePasswordResponse(tokens=self.world.begin(who.account))

    def BeginTotp(self, request: Any, context: Any) -> Any:
        who = self.world.caller(context)
        if self.world.passwords[who.account] != request.password:
            refuse(context)
        return login_pb2.BeginTotpResponse(secret="JBSWY3DPEHPK3PXP", uri=SECRET)

    def ConfirmTotp(self, request: Any, context: Any) -> Any:
        who = self.world.caller(context)
        if request.code != CODE:
            refuse(context)
        self.world.totp.add(who.account)
        return login_pb2.ConfirmTotpResponse(recovery_codes=["recover-1", "recover-2"])

    def RemoveTotp(self, request: Any, context: Any) -> Any:
        who = self.world.caller(context)
        if self.world.passwords[who.account] != request.password or request.code != CODE:
            refuse(context)
        self.world.totp.discard(who.account)
        return login_pb2.RemoveTotpResponse()


class _Accounts(login_pb2_grpc.AccountServiceServicer):
    def __init__(self, world: FakeLogin) -> None:
        self.world = world

    def _operator(self, context: Any) -> None:
        who = self.world.caller(context)
        account = self.world.accounts.get(who.account)
        if account is not None and "operator" not in account.roles:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "for operators")

    def _found(self, name: str, context: Any) -> login_pb2.Account:
        for each in self.world.accounts.values():
            if name in (each.id, each.name):
                return each
        context.abort(grpc.StatusCode.NOT_FOUND, f"there is no account {name}")
        raise AssertionError

    def CreateAccount(self, request: Any, context: Any) -> Any:
        self._operator(context)
        if request.account.name in self.world.accounts:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.account.name} is taken")
        credential = f"made-{secrets.token_hex(8)}"
        told = request.account
        self.world.add(told.name, credential, *told.roles, kind=told.kind, merchant=told.merchant)
        self.world.must_change.add(told.name)
        return login_pb2.CreateAccountResponse(account=self.world.accounts[told.name], credential=credential)

    def GetAccount(self, request: Any, context: Any) -> Any:
        self._operator(context)
        return login_pb2.GetAccountResponse(account=self._found(request.account, context))

    def ListAccounts(self, request: Any, context: Any) -> Any:
        self._operator(context)
        names = sorted(name for name in self.world.accounts if name > request.page_token)
        page = names[:2]
        return login_pb2.ListAccountsResponse(
            accounts=[self.world.accounts[name] for name in page],
            next_page_token=page[-1] if len(names) > 2 else "",
        )

    def UpdateAccount(self, request: Any, context: Any) -> Any:
        self._operator(context)
        found = self._found(request.account, context)
        if request.roles:
            found.ClearField("roles")
            found.roles.extend(request.roles)
        if request.HasField("merchant"):
            found.merchant = request.merchant
        found.status = request.status or found.status
        return login_pb2.UpdateAccountResponse(account=found)

    def ResetCredential(self, request: Any, context: Any) -> Any:
        self._operator(context)
        name = self._found(request.account, context).name
        self.world.passwords[name] = f"made-{secrets.token_hex(8)}"
        self.world.must_change.add(name)
        self.world.end_sessions(name)
        return login_pb2.ResetCredentialResponse(credential=self.world.passwords[name])

    def DeleteAccount(self, request: Any, context: Any) -> Any:
        self._operator(context)
        del self.world.accounts[self._found(request.account, context).name]
        return login_pb2.DeleteAccountResponse()


@contextmanager
def serving(target: str = "127.0.0.1:0") -> Iterator[FakeLogin]:
    """Serve a new world at `world.target`; gRPC threads answer."""
    world = FakeLogin()
    server = grpc.server(ThreadPoolExecutor(8))
    login_pb2_grpc.add_LoginServiceServicer_to_server(_Login(world), server)
    login_pb2_grpc.add_AccountServiceServicer_to_server(_Accounts(world), server)
    port = server.add_insecure_port(target)
    world.target = target if target.startswith("unix:") else f"127.0.0.1:{port}"
    server.start()
    try:
        yield world
    finally:
        server.stop(None).wait()
