"""Whose webhooks are, and as whom each looks now: judged for each message, never remembered from when it was made."""

from typing import Final

import msgspec

from services.query.epcis_problems import NotPermittedError, ParameterError
from services.query.sight import Eyes, Sight
from services.query.webhooks.asked import SEES_FIELD
from services.query.webhooks.values import OwnerId, OwnerKind, Sees, Webhook
from services.runtime.access.authenticator import OPERATOR
from services.runtime.access.lasting import Credential, Lasting, lasting_credential
from services.runtime.access.table import allows, roles_of
from services.runtime.access.values import NOBODY, Means, Principal, Role
from services.runtime.merchants.errors import RoleError, UnauthenticatedError

SUBSCRIBING: Final = "POST /epcis/v2/queries/{name}/subscriptions"
NOBODYS: Final = OwnerId(OwnerKind.PROVIDER)
"""Of which there is nothing: no subject is empty."""


class Looker(msgspec.Struct, frozen=True):
    """As whom a webhook looks: `who` for its browse records, NOBODY where everybody could; `eyes` say what may be seen."""

    who: Principal
    eyes: Eyes


class Lookers:
    """Says as whom webhooks look."""

    def __init__(self, sight: Sight, lasting: Lasting) -> None:
        """See by `sight`; who made a webhook is judged by `lasting`."""
        self._sight, self._lasting = sight, lasting

    async def of(self, webhook: Webhook) -> Looker:
        """Say as whom a webhook looks now; one that was made to see as its owner never looks as anybody else.

        Raises: UnauthenticatedError where its maker does not count any more; ForbiddenError where the maker, or the merchant, may not
            look now, which can change again; UnavailableError where that cannot be told.
        """
        if webhook.sees is Sees.PUBLIC:
            return Looker(NOBODY, await self._sight.eyes(NOBODY))
        if webhook.maker is None:
            raise UnauthenticatedError("who made it was erased")
        who = await self._lasting.principal(webhook.maker)
        if owner_id(who) != webhook.owner_id:
            raise RoleError("who made it acts for somebody else now, or for nobody")
        if not (sees_more(who) and allows(roles_of("query", SUBSCRIBING), who.roles)):
            raise RoleError("who made it has no role any more that sees more than everybody")
        return Looker(who, await self._sight.eyes(who))


def owner_name(who: Principal) -> str:
    """Say what records call whose it is that somebody makes: a merchant's, whoever acts for it, the operators', or one's own.

    Raises: NotPermittedError as `owner_id`.
    """
    owner = owner_id(who)
    if owner.kind is OwnerKind.OPERATOR:
        return OPERATOR
    return f"merchant:{owner.id}" if owner.kind is OwnerKind.MERCHANT else who.name


def owner_id(who: Principal) -> OwnerId:
    """Say whose it is that somebody makes.

    Raises: NotPermittedError for a token of the identity provider that names no subject, of whoever is no operator.
    """
    owner = _told_owner(who)
    if owner is None:
        raise NotPermittedError("the token has no `sub`: whose this is could not be told")
    return owner


def _told_owner(who: Principal) -> OwnerId | None:
    """Say who somebody is as an owner, None where nothing that they show can tell. Operators need not be told apart: they have everything."""
    if who.merchant:
        return OwnerId(OwnerKind.MERCHANT, str(who.merchant))
    if who.account:
        return OwnerId(OwnerKind.ACCOUNT, who.account)
    match who.means:
        case Means.OIDC if who.credential_id:
            return OwnerId(OwnerKind.PROVIDER, who.credential_id)
        case Means.OIDC if Role.OPERATOR not in who.roles:
            return None
        case Means.OIDC | Means.OPERATOR_TOKEN:
            return OwnerId(OwnerKind.OPERATOR)
        case _:
            return OwnerId(OwnerKind.ANYBODY)


def only_of(who: Principal) -> OwnerId | None:
    """Say whose somebody may see and remove; None for everybody's (operators). Who cannot be told from others has nothing."""
    return None if Role.OPERATOR in who.roles else _told_owner(who) or NOBODYS


def sees_more(who: Principal) -> bool:
    """Say whether somebody may see more than everybody, as `Sight` has it."""
    return bool(who.merchant) or who.is_any(Role.AUDITOR, Role.PLATFORM)


def maker_of(who: Principal, sees: Sees) -> Credential | None:
    """Give what is kept of who makes a webhook, to judge it at each message; None where everybody's sight is asked for.

    Raises: ParameterError where the owner's sight is asked for and is no other, or could not be judged later.
    """
    if sees is Sees.PUBLIC:
        return None
    if not sees_more(who):
        raise ParameterError("you see what everybody sees: leave it out", SEES_FIELD)
    maker = lasting_credential(who)
    if maker is None:
        raise ParameterError(
            "make it with an API key, or as an account of ours: what else was shown cannot be judged again at each message",
            SEES_FIELD,
        )
    return maker
