"""Accounts of people and programs, for operators: a client of AccountService."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from goodstrace.bearer import authorized
from goodstrace.login_calls import ChannelFactory, LoginCalls, secret_channel
from goodstrace.paging import pages
from goodstrace.query.v1 import login_pb2, login_pb2_grpc
from goodstrace.token_sources import TokenSource

_PAGE: Final = 1000


class AccountsClient(LoginCalls):
    """Keeps accounts at the query service at `target`, as the operator whom `source` says. All methods raise CallError."""

    def __init__(
        self, target: str, source: TokenSource, *, channel_of: ChannelFactory = secret_channel
    ) -> None:
        """Prepare to call; nothing is sent yet. `channel_of` makes the channel where `goodstrace.connections` is to be told more of TLS."""
        super().__init__(channel_of(target))
        self._accounts = login_pb2_grpc.AccountServiceStub(authorized(self._channel, source))

    def add(
        self, name: str, roles: Sequence[str], *, kind: str = "user", merchant: int = 0, certificate: str = ""
    ) -> tuple[login_pb2.Account, str]:
        """Make an account; gives it with its password or secret, which is told this once."""
        account = login_pb2.Account(
            name=name, kind=kind, roles=roles, merchant=merchant, certificate=certificate
        )
        answer = self._call(self._accounts.CreateAccount, login_pb2.CreateAccountRequest(account=account))
        return answer.account, answer.credential

    def show(self, account: str) -> login_pb2.Account:
        """Show an account by its name or ID."""
        request = login_pb2.GetAccountRequest(account=account)
        return self._call(self._accounts.GetAccount, request).account

    def list(self) -> Iterator[login_pb2.Account]:
        """List all accounts by name, page after page. Raises: AnswerError too."""
        request = login_pb2.ListAccountsRequest(page_size=_PAGE)
        for page in pages(request, partial(self._call, self._accounts.ListAccounts)):
            yield from page.accounts

    def change(
        self,
        account: str,
        *,
        roles: Sequence[str] = (),
        merchant: int | None = None,
        status: str = "",
        certificate: str | None = None,
    ) -> login_pb2.Account:
        """Change an account; what is not given stays. Its tokens do not count any more."""
        request = login_pb2.UpdateAccountRequest(
            account=account, roles=roles, merchant=merchant, status=status, certificate=certificate
        )
        return self._call(self._accounts.UpdateAccount, request).account

    def reset(self, account: str) -> str:
        """Make a new password or secret, told this once; all sessions end."""
        request = login_pb2.ResetCredentialRequest(account=account)
        return self._call(self._accounts.ResetCredential, request).credential

    def remove(self, account: str) -> None:
        """Remove an account."""
        self._call(self._accounts.DeleteAccount, login_pb2.DeleteAccountRequest(account=account))
