"""What merchants may speak for by their registrations. Pure; goodstrace/claims.py says what lies under it."""

from collections.abc import Iterable

from goodstrace.claims import Claims, is_within, scope_claims
from services.runtime.merchants.values import Delegation, Merchant


def claims_of(merchant: Merchant) -> Claims:
    """Give what a merchant itself may speak for."""
    return Claims(merchant.prefixes, merchant.glns, merchant.uris, merchant.everything)


def delegated(giver: Merchant, delegations: Iterable[Delegation], now_ms: int) -> list[Claims]:
    """Give what of a merchant's delegations is in force: not over, and still the giver's to give."""
    own = claims_of(giver)
    return [
        scope_claims(each.scope)
        for each in delegations
        if now_ms < each.until_ms and is_within(each.scope, own)
    ]
