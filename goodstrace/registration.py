"""What a sealed registration says: who registered what. Pure; the part `registration` of a record of that kind holds it as JSON.

The same record's part `facts` names what it is found by, and the lot that registered goods are of (docs/merchants.md).
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from goodstrace.claims import Claims, is_within, scope_claims, spoken_for
from goodstrace.errors import EntryError

TYPE: Final = "Registration"
"""`Facts.type` of a registration."""
PART: Final = "registration"
MERCHANT: Final = "merchant"
_SUSPENDED: Final = "suspended"


class Registration(msgspec.Struct, frozen=True):
    """Who registered what: `what` is merchant, goods or place, `content` its fields as JSON values."""

    what: str
    key: str
    merchant: int
    content: dict[str, Any]


class _Delegation(msgspec.Struct, frozen=True, rename="camel"):
    to: int
    scope: str
    until_ms: int


class _Giver(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a merchant that delegations depend on; others are passed over."""

    status: str = ""
    prefixes: tuple[str, ...] = ()
    glns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    everything: bool = False
    delegations: tuple[_Delegation, ...] = ()


_DECODER: Final = msgspec.json.Decoder(Registration)
_GIVER_FIELDS: Final = _Giver.__struct_encode_fields__


def decode(content: bytes) -> Registration:
    """Decode the part `registration`. Raises: EntryError, whatever the bytes."""
    try:
        return _DECODER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not a registration: {error}") from error


def content_hash(content: bytes) -> str:
    """Give the event hash that the facts of a registration state."""
    return f"ni:///sha-256;{hashlib.sha256(content).hexdigest()}?ver=registration1"


def of_parts(parts: Mapping[str, bytes]) -> Registration | None:
    """Read a registration out of a record's parts; None where that part is not there. Raises: EntryError."""
    content = parts.get(PART)
    return None if content is None else decode(content)


def merchant_key(number: int) -> str:
    """Give the key under which a merchant's registrations are found."""
    return f"urn:goodstrace:merchant:{number}"


def speaks_for(giver: Registration, delegate: int, goods: Collection[str], at_ms: int) -> bool:
    """Tell whether, by a merchant's registration, another merchant spoke for goods at a time.

    Args:
        giver: a merchant's registration; any other gives nothing.
        delegate: the other's number.
        goods: canonical keys. Those that are the giver's own count, at least one; each must lie under a delegation to the
            other that was in force and the giver's to give.
        at_ms: Unix milliseconds.
    """
    own, lent = _lent(giver, delegate, at_ms)
    return spoken_for(goods, own, lent)


def lends(giver: Registration, delegate: int, at_ms: int) -> bool:
    """Tell whether, by a merchant's registration, another merchant spoke for anything of its at a time, Unix milliseconds."""
    return bool(_lent(giver, delegate, at_ms)[1])


def lending(giver: Registration) -> Registration:
    """Give a merchant's registration with nothing but what its delegations depend on."""
    content = {name: giver.content[name] for name in _GIVER_FIELDS if name in giver.content}
    return Registration(giver.what, giver.key, giver.merchant, content)


def _lent(giver: Registration, delegate: int, at_ms: int) -> tuple[Claims, list[Claims]]:
    """Give what is a merchant's own, and what of it was lent to another."""
    try:
        merchant = msgspec.convert(giver.content, _Giver)
    except msgspec.ValidationError:
        return Claims(), []
    if giver.what != MERCHANT or merchant.status == _SUSPENDED:
        return Claims(), []
    own = Claims(merchant.prefixes, merchant.glns, merchant.uris, merchant.everything)
    return own, [
        scope_claims(each.scope)
        for each in merchant.delegations
        if each.to == delegate and at_ms < each.until_ms and is_within(each.scope, own)
    ]
