"""What a merchant may speak for, by its registration and by those of others. Pure; goodstrace/claims.py says what lies under it."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from goodstrace.claims import Claims, is_under, is_within, levels_of, scope_claims
from goodstrace.company import company_digits
from services.collector.registry.values import Delegation, Merchant


class Policy(StrEnum):
    """Which goods a merchant must be entitled to: those it brings into being, or all that an event names."""

    ORIGIN = "origin"
    STRICT = "strict"


class Speech(msgspec.Struct, frozen=True):
    """What a caller may say.

    own: its claims, and those of others that were delegated to it and are in force. taken: the URIs that merchants registered as
    theirs: a key that is no GS1 key and lies under none of them is nobody's, and anyone may name it (but not under STRICT).
    """

    policy: Policy = Policy.ORIGIN
    own: tuple[Claims, ...] = ()
    taken: frozenset[str] = frozenset()

    def may_name(self, key: str) -> bool:
        """Say whether an event of the caller's may bring the goods with this canonical key into being."""
        return self.owns(key) or (
            self.policy is Policy.ORIGIN
            and not company_digits(key)[0]
            and self.taken.isdisjoint(levels_of(key))
        )

    def owns(self, key: str) -> bool:
        """Say whether a canonical key lies under the caller's own or delegated claims."""
        return any(claims.cover(key) for claims in self.own)


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


def overlap(merchant: Merchant, other: Merchant) -> str | None:
    """Give the first thing that two merchants would both speak for; None where there is none. EVERYTHING overlaps with nobody."""
    for prefix in merchant.prefixes:
        if any(prefix.startswith(each) or each.startswith(prefix) for each in other.prefixes):
            return prefix
        if any(gln.startswith(prefix) for gln in other.glns):
            return prefix
    for gln in merchant.glns:
        if gln in other.glns or (other.prefixes and gln.startswith(other.prefixes)):
            return gln
    for uri in merchant.uris:
        if any(is_under(uri, each) or is_under(each, uri) for each in other.uris):
            return uri
    return None
