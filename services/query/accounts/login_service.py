"""The gRPC servicer of LoginService: limits of requests, who calls from where, and nothing else."""

from collections.abc import Callable
from typing import Final

from goodstrace.query.v1 import login_pb2, login_pb2_grpc
from services.query.accounts.account_store import AccountStore
from services.query.accounts.issuing import Issuing
from services.query.accounts.key_ring import KeyRing
from services.query.accounts.own_account import OwnAccount
from services.query.accounts.passwords import MAX_SENT_BYTES
from services.query.accounts.session_store import SessionStore
from services.query.accounts.signing_in import SigningIn
from services.runtime.access.current import network, principal
from services.runtime.access.networks import LOCAL
from services.runtime.call_errors import InvalidRequestError
from services.runtime.grpc import Context

MAX_NAME: Final = 128
MAX_TOKEN: Final = 512
MAX_CODE: Final = 64


class LoginServicer(login_pb2_grpc.LoginServiceServicer):
    """Answers the calls."""

    def __init__(
        self,
        *,
        signing_in: SigningIn,
        issuing: Issuing,
        own: OwnAccount,
        sessions: SessionStore,
        accounts: AccountStore,
        ring: KeyRing,
        now_ms: Callable[[], int],
        certificate_names: Callable[[Context], tuple[str, ...]] = lambda _: (),
    ) -> None:
        """Answer by these parts; `certificate_names` are those in the caller's verified client certificate."""
        self._signing_in, self._issuing, self._own = signing_in, issuing, own
        self._sessions, self._accounts, self._ring = sessions, accounts, ring
        self._now_ms, self._certificate_names = now_ms, certificate_names

    async def SignIn(  # noqa: N802 - the method's name
        self,
        request: login_pb2.SignInRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.SignInResponse:
        """See login.proto."""
        _bounded(name=(request.name, MAX_NAME), code=(request.code, MAX_CODE))
        _bounded(password=(request.password, MAX_SENT_BYTES), device_token=(request.device_token, MAX_TOKEN))
        return await self._signing_in.sign_in(request, _network())

    async def Refresh(  # noqa: N802
        self,
        request: login_pb2.RefreshRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.RefreshResponse:
        """See login.proto."""
        _bounded(refresh_token=(request.refresh_token, MAX_TOKEN))
        tokens = await self._issuing.refresh(request.refresh_token, _network())
        return login_pb2.RefreshResponse(tokens=tokens)

    async def IssueToken(  # noqa: N802
        self, request: login_pb2.IssueTokenRequest, context: Context
    ) -> login_pb2.IssueTokenResponse:
        """See login.proto."""
        _bounded(client_id=(request.client_id, MAX_NAME), client_secret=(request.client_secret, MAX_TOKEN))
        certificates = self._certificate_names(context)
        tokens = await self._issuing.issue(request.client_id, request.client_secret, certificates, _network())
        return login_pb2.IssueTokenResponse(tokens=tokens)

    async def SignOut(  # noqa: N802
        self,
        request: login_pb2.SignOutRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.SignOutResponse:
        """See login.proto."""
        _bounded(session=(request.session, MAX_CODE))
        ended = await self._own.sign_out(principal(), everywhere=request.everywhere, session=request.session)
        return login_pb2.SignOutResponse(ended=ended)

    async def WhoAmI(  # noqa: N802
        self,
        request: login_pb2.WhoAmIRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> login_pb2.WhoAmIResponse:
        """See login.proto."""
        who = principal()
        account = await self._accounts.find(who.account) if who.account else None
        return login_pb2.WhoAmIResponse(
            name=who.name,
            roles=sorted(who.roles),
            merchant=who.merchant,
            means=who.means,
            session=who.session,
            totp=account is not None and account.totp_on,
            change_password=account is not None and account.change_password,
        )

    async def ListSessions(  # noqa: N802
        self,
        request: login_pb2.ListSessionsRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> login_pb2.ListSessionsResponse:
        """See login.proto."""
        who = principal()
        account = await self._own.of(who)
        idle_ms = self._issuing.lifetimes.idle_s * 1000
        found = await self._sessions.listed(account.id, self._now_ms(), idle_ms)
        return login_pb2.ListSessionsResponse(
            sessions=[
                login_pb2.Session(
                    id=each.id,
                    begun_ms=each.begun_ms,
                    used_ms=each.used_ms,
                    network=each.network,
                    current=each.id == who.session,
                )
                for each in found
            ]
        )

    async def ChangePassword(  # noqa: N802
        self,
        request: login_pb2.ChangePasswordRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.ChangePasswordResponse:
        """See login.proto."""
        _bounded(password=(request.password, MAX_SENT_BYTES), code=(request.code, MAX_CODE))
        _bounded(new_password=(request.new_password, MAX_SENT_BYTES))
        tokens = await self._own.change_password(principal(), request, _network())
        return login_pb2.ChangePasswordResponse(tokens=tokens)

    async def BeginTotp(  # noqa: N802
        self,
        request: login_pb2.BeginTotpRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.BeginTotpResponse:
        """See login.proto."""
        _bounded(password=(request.password, MAX_SENT_BYTES))
        return await self._own.begin_totp(principal(), request.password)

    async def ConfirmTotp(  # noqa: N802
        self,
        request: login_pb2.ConfirmTotpRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.ConfirmTotpResponse:
        """See login.proto."""
        _bounded(code=(request.code, MAX_CODE))
        codes = await self._own.confirm_totp(principal(), request.code)
        return login_pb2.ConfirmTotpResponse(recovery_codes=codes)

    async def RemoveTotp(  # noqa: N802
        self,
        request: login_pb2.RemoveTotpRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.RemoveTotpResponse:
        """See login.proto."""
        _bounded(password=(request.password, MAX_SENT_BYTES), code=(request.code, MAX_CODE))
        await self._own.remove_totp(principal(), request.password, request.code)
        return login_pb2.RemoveTotpResponse()

    async def GetSigningKeys(  # noqa: N802
        self,
        request: login_pb2.GetSigningKeysRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> login_pb2.GetSigningKeysResponse:
        """See login.proto."""
        return login_pb2.GetSigningKeysResponse(jwks=self._ring.key_set().decode())


def _network() -> str:
    """Give the network of who calls; those who come by a Unix socket are one."""
    return network() or LOCAL


def _bounded(**fields: tuple[str, int]) -> None:
    for name, (text, most) in fields.items():
        if len(text.encode()) > most:
            raise InvalidRequestError(f"over {most} bytes", name)
