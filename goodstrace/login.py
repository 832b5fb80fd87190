"""Signing in, and what belongs to one's own account: a client of LoginService."""

from __future__ import annotations

import hashlib
import time
from typing import Final, Protocol

import grpc

from goodstrace.bearer import authorized
from goodstrace.call_failures import call_error, detail_of
from goodstrace.errors import CallError
from goodstrace.login_calls import TIMEOUT_S, ChannelFactory, LoginCalls, secret_channel
from goodstrace.query.v1 import login_pb2, login_pb2_grpc
from goodstrace.session import Renewed
from goodstrace.session_store import Session
from goodstrace.token_sources import NO_TOKEN, Issued, TokenSource

MAX_ZERO_BITS: Final = 28
_MOST_CHALLENGES: Final = 3
_TOLD_EVERY: Final = 1 << 16


class Progress(Protocol):
    """Told how far the work for a challenge has come: how much of it is done on average, over 1 where luck is bad."""

    def __call__(self, done: float, /) -> None:
        """Show it."""


class LoginClient(LoginCalls):
    """Signs in at the query service at `target`."""

    def __init__(
        self,
        target: str,
        source: TokenSource = NO_TOKEN,
        *,
        channel_of: ChannelFactory = secret_channel,
    ) -> None:
        """Prepare to call as whom `source` says; nothing is sent yet. `channel_of` makes the channel where `goodstrace.connections` is to be told more of TLS."""
        super().__init__(channel_of(target))
        self._login = login_pb2_grpc.LoginServiceStub(authorized(self._channel, source))
        self._trying = login_pb2_grpc.LoginServiceStub(authorized(self._channel, _Tried(source)))

    def sign_in(
        self,
        user: str,
        password: str,
        code: str = "",
        *,
        known: Session | None = None,
        progress: Progress | None = None,
    ) -> Session:
        """Sign a person in, doing the work that may be asked for before.

        Args:
            user: the account's name.
            password: its password.
            code: a one-time code or a recovery code, where the account wants one.
            known: the session of before, if there is one: its device is not slowed down by what others try.
            progress: is told of that work.
        Raises: CallError: UNAUTHENTICATED whatever is wrong.
        """
        device = known.device_token if known is not None and known.user == user.lower() else ""
        request = login_pb2.SignInRequest(name=user, password=password, code=code, device_token=device)
        for _ in range(_MOST_CHALLENGES):
            try:
                answer = self._login.SignIn(request, timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                challenge = detail_of(error, login_pb2.Challenge())
                if not challenge.challenge:
                    raise call_error(error) from error
                counter = solve(challenge.challenge, challenge.zero_bits, progress)
                request.solution.challenge, request.solution.counter = challenge.challenge, counter
                continue
            hosts = known.hosts if known is not None else ()
            session = Session(user.lower(), device_token=answer.device_token or device, hosts=hosts)
            return session.with_tokens(*renewed(answer.tokens))
        raise CallError(
            "RESOURCE_EXHAUSTED", "the service wants more and more work before it lets anybody sign in"
        )

    def refresh(self, refresh_token: str) -> Renewed:
        """Get the next tokens of a session. Raises: CallError: UNAUTHENTICATED where it has ended."""
        request = login_pb2.RefreshRequest(refresh_token=refresh_token)
        return renewed(self._call(self._login.Refresh, request).tokens)

    def issued(self, client_id: str = "", secret: str = "") -> Issued:
        """Get an access token for a program: by its secret, or by its client certificate alone. Raises: CallError."""
        request = login_pb2.IssueTokenRequest(client_id=client_id, client_secret=secret)
        return renewed(self._call(self._login.IssueToken, request).tokens).issued

    def signing_keys(self) -> str:
        """Get the public keys that sign tokens and receipts, as a JSON Web Key Set. Raises: CallError."""
        return self._call(self._login.GetSigningKeys, login_pb2.GetSigningKeysRequest()).jwks

    def sign_out(self, *, everywhere: bool = False, session: str = "") -> int:
        """End this session, all of the account's, or another one by its ID; gives how many. Raises: CallError."""
        request = login_pb2.SignOutRequest(everywhere=everywhere, session=session)
        return int(self._call(self._login.SignOut, request).ended)

    def who_am_i(self) -> login_pb2.WhoAmIResponse:
        """Ask who the caller is. Raises: CallError."""
        return self._call(self._login.WhoAmI, login_pb2.WhoAmIRequest())

    def sessions(self) -> list[login_pb2.Session]:
        """List one's sessions, newest first. Raises: CallError."""
        return list(self._call(self._login.ListSessions, login_pb2.ListSessionsRequest()).sessions)

    def change_password(self, password: str, new_password: str, code: str = "") -> Renewed:
        """Change one's password; all sessions end, and what is given is a new one. Raises: CallError."""
        request = login_pb2.ChangePasswordRequest(password=password, new_password=new_password, code=code)
        return renewed(self._call(self._trying.ChangePassword, request).tokens)

    def begin_totp(self, password: str) -> login_pb2.BeginTotpResponse:
        """Begin to use one-time codes. Raises: CallError."""
        return self._call(self._trying.BeginTotp, login_pb2.BeginTotpRequest(password=password))

    def confirm_totp(self, code: str) -> list[str]:
        """Confirm that codes are at hand; gives the recovery codes, told this once. Raises: CallError."""
        return list(
            self._call(self._trying.ConfirmTotp, login_pb2.ConfirmTotpRequest(code=code)).recovery_codes
        )

    def remove_totp(self, password: str, code: str) -> None:
        """Stop using one-time codes. Raises: CallError."""
        self._call(self._trying.RemoveTotp, login_pb2.RemoveTotpRequest(password=password, code=code))


class _Tried:
    """A source for calls that show a password or a code besides: where one is refused, trying it again would count as guessing."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def token(self) -> str:
        return self._source.token()

    def renewed(self, refused: str) -> str:
        return refused


def renewed(tokens: login_pb2.Tokens) -> Renewed:
    """Read tokens as they came."""
    return Renewed(Issued.now(tokens.access_token, tokens.expires_in_s, time.time()), tokens.refresh_token)


def solve(challenge: str, zero_bits: int, progress: Progress | None = None) -> int:
    """Find the counter that solves a challenge, see `Challenge` in login.proto: about 2^zero_bits hashes, a second for 20.

    Raises: CallError where more is asked for than anybody should do.
    """
    if zero_bits > MAX_ZERO_BITS:
        raise CallError("RESOURCE_EXHAUSTED", f"the service wants work of {zero_bits} bits before a sign-in")
    begun = hashlib.sha256(challenge.encode())
    limit = 1 << (256 - zero_bits)
    counter = 0
    while True:
        attempt = begun.copy()
        attempt.update(counter.to_bytes(8))
        if int.from_bytes(attempt.digest()) < limit:
            return counter
        counter += 1
        if progress is not None and counter % _TOLD_EVERY == 0:
            progress(counter / (1 << zero_bits))
