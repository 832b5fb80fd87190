"""The gRPC servicer of AccountService: accounts kept by operators, and a merchant's people by each other. Who may call is the table's to say."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import structlog

from goodstrace.query.v1 import login_pb2, login_pb2_grpc
from services.query.accounts import sessions as session_values
from services.query.accounts.account_store import AccountStore
from services.query.accounts.changes import AccountChanges, given_to
from services.query.accounts.credentials import Made, made_password, made_secret
from services.query.accounts.hashing import Hasher
from services.query.accounts.metrics import LoginMetrics
from services.query.accounts.new_names import NewNames
from services.query.accounts.passwords import account_name
from services.query.accounts.reach import Reach, reach_of
from services.query.accounts.session_store import SessionStore
from services.query.accounts.stored import StoredAccount, checked, message_of, roles_from
from services.runtime.access.current import principal
from services.runtime.access.values import AccountKind, AccountStatus
from services.runtime.call_errors import AlreadyExistsError, InvalidRequestError, NotFoundError
from services.runtime.errors import ConflictError
from services.runtime.grpc import Context
from services.runtime.page_tokens import PageTokens, TokenKey

MAX_PAGE: Final = 1000
_PAGE: Final = 100
_SHOWN_CHARS: Final = 8
_QUERY: Final = b"ListAccounts"
_TAKEN: Final = "there is an account of that name or certificate"


class _After(msgspec.Struct):
    name: str


class AccountServicer(login_pb2_grpc.AccountServiceServicer):
    """Answers the calls."""

    def __init__(
        self,
        accounts: AccountStore,
        sessions: SessionStore,
        hasher: Hasher,
        page_key: TokenKey,
        *,
        names: NewNames,
        changes: AccountChanges,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        metrics: LoginMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Keep accounts in `accounts`, new ones under names that `names` lets them have, and record each change by `changes` before it is made."""
        self._names, self._changes = names, changes
        self._accounts, self._sessions, self._hasher = accounts, sessions, hasher
        self._pages = PageTokens(page_key, _After)
        self._now_ms, self._random, self._metrics, self._log = now_ms, random, metrics, log

    async def CreateAccount(  # noqa: N802 - the method's name
        self,
        request: login_pb2.CreateAccountRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.CreateAccountResponse:
        """See login.proto."""
        wanted = reach_of(principal()).wanted(request.account)
        if wanted.kind not in tuple(AccountKind):
            raise InvalidRequestError("user or service, please", "account.kind")
        account = checked(
            StoredAccount(
                id=self._random(session_values.ID_BYTES).hex(),
                kind=AccountKind(wanted.kind),
                name=wanted.name,
                roles=roles_from(list(wanted.roles)),
                merchant=wanted.merchant,
                certificate=wanted.certificate,
                created_ms=self._now_ms(),
            )
        )
        if await self._accounts.named(account.name) is not None:
            raise AlreadyExistsError(_TAKEN, "account.name")
        await self._names.check(account.name)
        await self._check_certificate(account.certificate, "account.certificate")
        made = await self._made(account)
        await self._changes.record("CreateAccount", account, given_to(None, account))
        try:
            await self._accounts.add(made.account)
        except ConflictError as error:
            raise AlreadyExistsError(_TAKEN, "account.name") from error
        self._say("an account was made", account)
        return login_pb2.CreateAccountResponse(account=message_of(made.account), credential=made.credential)

    async def GetAccount(  # noqa: N802
        self,
        request: login_pb2.GetAccountRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.GetAccountResponse:
        """See login.proto."""
        return login_pb2.GetAccountResponse(
            account=message_of(await self._found(request.account, reach_of(principal())))
        )

    async def ListAccounts(  # noqa: N802
        self,
        request: login_pb2.ListAccountsRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.ListAccountsResponse:
        """See login.proto."""
        if request.page_size > MAX_PAGE:
            raise InvalidRequestError(f"1 to {MAX_PAGE}, please", "page_size")
        most, merchant = request.page_size or _PAGE, reach_of(principal()).merchant
        query = _QUERY + (b"/%d" % merchant if merchant else b"")
        after = (await self._pages.open(query, request.page_token)).name if request.page_token else ""
        found = await self._accounts.page(after, most + 1, people_of=merchant)
        token = await self._pages.seal(query, _After(found[most - 1].name)) if len(found) > most else ""
        return login_pb2.ListAccountsResponse(
            accounts=list(map(message_of, found[:most])), next_page_token=token
        )

    async def UpdateAccount(  # noqa: N802
        self,
        request: login_pb2.UpdateAccountRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.UpdateAccountResponse:
        """See login.proto."""
        reach = reach_of(principal())
        account = await self._found(request.account, reach)
        reach.check_change(account, request)
        from_ms = self._now_ms() + 1

        def changed(now: StoredAccount) -> StoredAccount:
            return _updated(_still(now, reach), request=request, from_ms=from_ms)

        async def recorded(before: StoredAccount, after: StoredAccount) -> None:
            if given := given_to(before, after):  # of what is written, not of what was found first
                if "certificate" in given:
                    await self._check_certificate(after.certificate, "certificate")
                await self._changes.record("UpdateAccount", before, given)

        try:
            after = await self._accounts.update(account.id, changed, first=recorded)
        except ConflictError as error:
            raise AlreadyExistsError(_TAKEN, "certificate") from error
        if after is None:
            raise _no_account()
        if after.valid_from_ms != account.valid_from_ms:
            await self._end_sessions(after)
        self._say("an account was changed", after)
        return login_pb2.UpdateAccountResponse(account=message_of(after))

    async def ResetCredential(  # noqa: N802
        self,
        request: login_pb2.ResetCredentialRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.ResetCredentialResponse:
        """See login.proto."""
        reach = reach_of(principal())
        account = await self._found(request.account, reach)
        reach.check_other(account)
        made = await self._made(account)
        new = made.account

        def changed(now: StoredAccount) -> StoredAccount:
            return msgspec.structs.replace(
                _still(now, reach),
                password=new.password,
                change_password=new.change_password,
                secrets=new.secrets,
                totp_on=False,
                totp_secret=b"",
                totp_step=0,
                recovery=(),
                valid_from_ms=self._now_ms() + 1,
            )

        await self._changes.record("ResetCredential", account)
        if await self._accounts.update(account.id, changed) is None:
            raise _no_account()
        await self._end_sessions(account)
        self._say("a credential was reset", account)
        return login_pb2.ResetCredentialResponse(credential=made.credential)

    async def DeleteAccount(  # noqa: N802
        self,
        request: login_pb2.DeleteAccountRequest,
        context: Context,  # noqa: ARG002
    ) -> login_pb2.DeleteAccountResponse:
        """See login.proto."""
        reach = reach_of(principal())
        account = await self._found(request.account, reach)
        await self._changes.record("DeleteAccount", account)
        if not await self._accounts.remove(account.id, people_of=reach.merchant):
            raise _no_account()
        await self._sessions.remove_all(account.id)
        self._say("an account was removed", account)
        return login_pb2.DeleteAccountResponse()

    async def _found(self, name: str, reach: Reach) -> StoredAccount:
        """Find by name or ID what the caller may keep. Raises: NotFoundError."""
        account = await self._accounts.named(account_name(name)) or await self._accounts.find(name)
        if account is None or not reach.covers(account):
            raise _no_account()
        return account

    async def _check_certificate(self, name: str, field: str) -> None:
        """See that a certificate is no other account's, before anything is recorded. Raises: AlreadyExistsError."""
        if await self._accounts.by_certificate(name) is not None:
            raise AlreadyExistsError(_TAKEN, field)

    async def _made(self, account: StoredAccount) -> Made:
        if account.kind is AccountKind.SERVICE:
            return made_secret(account, self._random)
        return await made_password(account, partial(self._hasher.hash, first=True))

    async def _end_sessions(self, account: StoredAccount) -> None:
        ended = await self._sessions.end_all(account.id, self._now_ms())
        self._metrics.sessions_ended.inc(ended)

    def _say(self, what: str, account: StoredAccount) -> None:
        """Log it without a name, since a log cannot be erased: by the beginning of an ID, which the account alone has."""
        self._log.info(what, account=account.id[:_SHOWN_CHARS], by=principal().account[:_SHOWN_CHARS])


def _still(account: StoredAccount, reach: Reach) -> StoredAccount:
    """Give an account that the caller may still keep: it may have got other roles since it was found. Raises: NotFoundError."""
    if not reach.covers(account):
        raise _no_account()
    return account


def _updated(
    account: StoredAccount, *, request: login_pb2.UpdateAccountRequest, from_ms: int
) -> StoredAccount:
    if request.status not in ("", *AccountStatus):
        raise InvalidRequestError("active or disabled, please", "status")
    after = checked(
        msgspec.structs.replace(
            account,
            roles=roles_from(list(request.roles)) if request.roles else account.roles,
            merchant=request.merchant if request.HasField("merchant") else account.merchant,
            status=AccountStatus(request.status) if request.status else account.status,
            certificate=request.certificate if request.HasField("certificate") else account.certificate,
        )
    )
    return after if after == account else msgspec.structs.replace(after, valid_from_ms=from_ms)


def _no_account() -> NotFoundError:
    return NotFoundError("there is no such account", "account")
