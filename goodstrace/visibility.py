"""Who may see an event, by the policy of the merchant that captured it. Pure; docs/visibility.md says why.

A policy names one of three circles for each step of the supply chain: everybody, the partners of the event, its merchant alone.
Partners are those that the event itself names, one up and one down, never the whole chain:

- who is named as source or destination, of whatever type: owner, possessor or place;
- whose the read point or the business location is: there it happened;
- who let the event's merchant speak for the goods in it.

Whoever may speak for a party counts as that party: delegates as their principals. That goods were first named by somebody (the brand
owner, the packer who numbered the pallet) makes nobody a partner of what others do with them.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from goodstrace.claims import Claims, spoken_for
from goodstrace.facts import GOODS_ROLES, Facts
from goodstrace.tracing.model import Name, NameKind

MAX_STEPS: Final = 32
_Step = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


class Visibility(StrEnum):
    """Who sees an event, beside its merchant and who may see everything."""

    PUBLIC = "public"
    PARTNERS = "partners"
    PRIVATE = "private"


class VisibilityPolicy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """What a merchant says of its events: `steps` by classified step (such as "production"), `default` for all others."""

    default: Visibility = Visibility.PARTNERS
    steps: Annotated[dict[_Step, Visibility], Meta(max_length=MAX_STEPS)] = {}

    def of(self, step: str) -> Visibility:
        """Give who sees events of a step; of an event that is of none, too."""
        return self.steps.get(step, self.default)


class Lent(msgspec.Struct, frozen=True):
    """What somebody lets another merchant speak for: `to` its number, until a time in Unix milliseconds."""

    to: int
    claims: Claims
    until_ms: int


class Viewer(msgspec.Struct, frozen=True):
    """Who looks.

    merchant: its number, 0 for none. claims: what it may speak for, its own first, then what others lent it and is in force. lent:
    what it lets others speak for. sees_all: an auditor or the platform; and everybody where nothing is enforced.
    """

    merchant: int = 0
    claims: tuple[Claims, ...] = ()
    lent: tuple[Lent, ...] = ()
    sees_all: bool = False


ANYBODY: Final = Viewer()
EVERYTHING: Final = Viewer(sees_all=True)


def sees(
    viewer: Viewer, policy: VisibilityPolicy, merchant: int, facts: Facts | None, record_ms: int
) -> bool:
    """Tell whether somebody may see the content of an event.

    Args:
        viewer: who looks.
        policy: of the event's merchant, in force now.
        merchant: who captured the event.
        facts: of the event; None where they are not there any more: then only its merchant sees what is left.
        record_ms: when it was captured, Unix milliseconds.
    """
    if viewer.sees_all or (merchant and viewer.merchant == merchant):
        return True
    if facts is None:
        return False
    circle = policy.of(facts.step)
    if circle is Visibility.PARTNERS and viewer.merchant:
        return is_partner(viewer, merchant, facts, record_ms)
    return circle is Visibility.PUBLIC


def is_partner(viewer: Viewer, merchant: int, facts: Facts, record_ms: int) -> bool:
    """Tell whether an event names somebody, or was captured on the account of somebody, for whom the viewer speaks."""
    if any(claims.everything for claims in viewer.claims):
        return True
    named = set(parties(facts))
    if any(claims.cover(key) for claims in viewer.claims for key in named):
        return True
    lent = [each.claims for each in viewer.lent if each.to == merchant and record_ms < each.until_ms]
    return bool(lent) and spoken_for(_goods(facts), viewer.claims[0], lent)


def parties(facts: Facts) -> Iterator[str]:
    """List the keys of the parties and places that an event names."""
    yield from (each.key for each in (*facts.sources, *facts.destinations))
    yield from filter(None, (facts.read_point, facts.business_location))


def told_names(facts: Facts) -> Iterator[Name]:
    """List the names by which it is told that an event is sealed to who may not see it: its goods, its IDs, its transformation.

    Not by its places, parties, orders and devices. Else whoever asks for all places and for some goods could join the two lists of entries,
    and would know what went where.
    """
    for key in {*_goods(facts), *facts.lot_of.values()}:
        yield NameKind.KEY, key
    yield NameKind.EVENT_ID, facts.event_id
    yield NameKind.EVENT_ID, facts.event_hash
    if facts.transformation:
        yield NameKind.TRANSFORMATION, facts.transformation


def _goods(facts: Facts) -> set[str]:
    return set(_all(facts.keys.get(role, ()) for role in GOODS_ROLES))


def _all(listed: Iterable[Iterable[str]]) -> Iterator[str]:
    for each in listed:
        yield from each
