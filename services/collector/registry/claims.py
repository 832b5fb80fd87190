"""Whether a key lies under what a merchant may speak for. Pure."""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import msgspec

from goodstrace.company import company_digits
from services.collector.registry.values import Delegation, Merchant

_LEVEL_ENDS: Final = "/:#.?="
_PREFIX: Final = re.compile(r"[0-9]{4,12}", re.ASCII)
_GLN: Final = re.compile(r"[0-9]{13}", re.ASCII)


class Policy(StrEnum):
    """Which goods a merchant must be entitled to: those it brings into being, or all that an event names."""

    ORIGIN = "origin"
    STRICT = "strict"


class Claims(msgspec.Struct, frozen=True):
    """What somebody may speak for; see Merchant."""

    prefixes: tuple[str, ...] = ()
    glns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    everything: bool = False

    def cover(self, key: str) -> bool:
        """Say whether a canonical key lies under them."""
        if self.everything:
            return True
        digits, gln = company_digits(key)
        if digits and digits.startswith(self.prefixes):
            return True
        return (bool(gln) and gln in self.glns) or any(is_under(key, uri) for uri in self.uris)


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


def scope_claims(scope: str) -> Claims:
    """Read a delegation's scope: a company prefix, a GLN, or a URI."""
    if _PREFIX.fullmatch(scope):
        return Claims(prefixes=(scope,))
    if _GLN.fullmatch(scope):
        return Claims(glns=(scope,))
    return Claims(uris=(scope,))


def is_within(scope: str, claims: Claims) -> bool:
    """Say whether a delegation's scope lies under claims."""
    if claims.everything:
        return True
    if _PREFIX.fullmatch(scope):
        return scope.startswith(claims.prefixes) if claims.prefixes else False
    if _GLN.fullmatch(scope):
        return scope in claims.glns or (bool(claims.prefixes) and scope.startswith(claims.prefixes))
    return claims.cover(scope)


def is_under(key: str, uri: str) -> bool:
    """Say whether a key is `uri` or lies on a level below it: `urn:a:b` holds `urn:a:b:c`, and not `urn:a:bc`."""
    return key.startswith(uri) and (
        len(key) == len(uri) or uri[-1] in _LEVEL_ENDS or key[len(uri)] in _LEVEL_ENDS
    )


def levels_of(key: str) -> Iterator[str]:
    """List every URI that holds a key: itself, and what `is_under` finds it below."""
    yield key
    for place, character in enumerate(key):
        if character in _LEVEL_ENDS:
            yield key[:place]
            yield key[: place + 1]


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
