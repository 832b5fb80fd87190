"""Which names new accounts may have: none by which records know somebody else, since looks belong to names and each may list their own.

Names with a colon or a slash (`merchant:7`, `host:ann`, `shop/ann`) are no account's in any case: `passwords.is_name`.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from services.runtime.access.authenticator import OPERATOR
from services.runtime.call_errors import AlreadyExistsError, InvalidRequestError
from services.runtime.vault import Vault, user_subject

RESERVED: Final = frozenset({OPERATOR})
"""What records call those who are known by another thing than an account; beside them `NOBODIES`."""
_FIELD: Final = "account.name"

HasLooks = Callable[[str], Awaitable[bool]]
"""Says whether anything is recorded of a user by that name. Raises: UnavailableError."""


class NewNames:
    """Says whether a new account may have a name."""

    def __init__(self, provider_host: str, has_looks: HasLooks) -> None:
        """Keep names of `RESERVED`, those of the identity provider at a host ("" for none), and those of who has looks."""
        self._provider_host, self._has_looks = provider_host, has_looks

    async def check(self, name: str) -> None:
        """See that nobody else is or was known by a name, of those that no account has now.

        Raises: InvalidRequestError, AlreadyExistsError; UnavailableError.
        """
        check_reserved(name, self._provider_host)
        if await self._has_looks(name):
            raise AlreadyExistsError(
                "somebody had that name, and what they looked at is recorded under it: another one, please",
                _FIELD,
            )


def check_reserved(name: str, provider_host: str) -> None:
    """See that a name is not one by which records know others than accounts. Raises: InvalidRequestError."""
    if name in RESERVED:
        raise InvalidRequestError(f"records call the operator token {name!r}: another name, please", _FIELD)
    if provider_host and name.endswith(f"@{provider_host.casefold()}"):
        raise InvalidRequestError(
            f"records call those so who sign in at {provider_host}: another name, please", _FIELD
        )


def looks_in(vault: Vault) -> HasLooks:
    """Ask a vault: who was recorded has a key there, until the user is erased."""

    async def has_looks(name: str) -> bool:
        return await vault.key_of(user_subject(name), create=False) is not None

    return has_looks
