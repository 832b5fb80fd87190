"""What records call who calls, where others go by it. Pure."""

from collections.abc import Sequence
from typing import Final

from services.runtime.access.values import EVERYBODY, Principal, Role
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_USER_CHARS

NOBODIES: Final = frozenset({"anonymous", "unknown", "several"})
"""The words that records have for those who are nobody in particular: no account may be called so, and each is its own pseudonym."""
TOLD_TO_WORK: Final = "blocked-network"
"""What records call a sign-in from a blocked network that is to work first: no failure, or honest neighbours, and who never works, would make the block last."""
USER_METADATA: Final = "goodstrace-user"


def recorded_name(who: Principal, told: Sequence[str]) -> str:
    """Give the name for records.

    Where accounts are off it is what callers call themselves. Else it is the account's, the merchant's or the operator's own name, and only a
    platform's program may add for whom it asks: `<account>/<user>`; what others say is not looked at.

    Args:
        who: who calls.
        told: what the caller said in `goodstrace-user`, decoded.
    Raises: InvalidRequestError where it is said twice, is empty, or the name gets over 128 characters.
    """
    is_told = bool(told) and (who == EVERYBODY or Role.PLATFORM in who.roles)
    if not is_told:
        return who.name
    name = told[0] if who == EVERYBODY else f"{who.name}/{told[0]}"
    if len(told) > 1 or not told[0] or len(name) > MAX_USER_CHARS:
        raise InvalidRequestError(f"one name of 1 to {MAX_USER_CHARS} characters, please", USER_METADATA)
    return name
