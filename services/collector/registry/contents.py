"""From JSON as it was sent to merchants, goods and places, and changes to them. Pure."""

import re
from typing import Any, Final, TypeVar

import msgspec

from goodstrace.claims import is_within
from goodstrace.errors import SignatureError
from goodstrace.signatures import MerchantKey
from goodstrace.temperatures import unclear_limit
from services.collector.errors import DocumentError, Fault
from services.collector.record import canonical_key
from services.collector.strict_json import pointer
from services.runtime.merchants.claims import claims_of
from services.runtime.merchants.values import Goods, Merchant, Place

C = TypeVar("C", Merchant, Goods, Place)
_AT: Final = re.compile(r"(.*) - at `\$?(.*)`", re.DOTALL)
_STEP: Final = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]|\[(\.\.\.)\]")


def read_merchant(values: object) -> Merchant:
    """Read a merchant as it was sent. Raises: DocumentError, with the place of the first fault."""
    return _sound(_converted(values, Merchant))


def read_goods(values: object) -> Goods:
    """Read goods as they were sent, their key in canonical form. Raises: DocumentError."""
    content = _converted(values, Goods)
    unclear = unclear_limit(content.attributes)
    if unclear is not None:
        raise DocumentError(Fault(pointer("attributes", unclear.name), unclear.detail))
    return msgspec.structs.replace(content, key=canonical_key(content.key))


def read_place(values: object) -> Place:
    """Read a place or party as it was sent, its key in canonical form. Raises: DocumentError."""
    content = _converted(values, Place)
    return msgspec.structs.replace(content, key=canonical_key(content.key))


def merged(values: dict[str, Any], patch: object) -> dict[str, Any]:
    """Change a JSON object by a merge patch: null removes a member. Raises: DocumentError. Source: RFC 7396."""
    if not isinstance(patch, dict):
        raise DocumentError(Fault("", "must be an object"))
    result = dict(values)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def _converted(values: object, shape: type[C]) -> C:
    try:
        return msgspec.convert(values, shape)
    except msgspec.ValidationError as error:
        raise DocumentError(_fault(str(error))) from error


def _sound(merchant: Merchant) -> Merchant:
    """Make sure that a merchant delegates only what is its own; its URIs become canonical."""
    own = claims_of(merchant)
    for index, each in enumerate(merchant.delegations):
        if not is_within(_canonical(each.scope), own):
            raise DocumentError(
                Fault(
                    f"/delegations/{index}/scope",
                    "is not the merchant's own: a company prefix, a GLN or a URI",
                )
            )
    return msgspec.structs.replace(
        merchant,
        signing_keys=tuple(_signing_key(index, each) for index, each in enumerate(merchant.signing_keys)),
        uris=tuple(sorted({canonical_key(uri) for uri in merchant.uris})),
        prefixes=tuple(sorted(set(merchant.prefixes))),
        glns=tuple(sorted(set(merchant.glns))),
        delegations=tuple(
            msgspec.structs.replace(each, scope=_canonical(each.scope)) for each in merchant.delegations
        ),
    )


def _signing_key(index: int, jwk: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(MerchantKey.from_jwk(jwk).jwk)
    except SignatureError as error:
        raise DocumentError(Fault(f"/signingKeys/{index}", str(error))) from error


def _canonical(scope: str) -> str:
    return canonical_key(scope) if ":" in scope else scope


def _fault(message: str) -> Fault:
    match = _AT.fullmatch(message)
    if match is None:
        return Fault("", message)
    steps = [first or second or third for first, second, third in _STEP.findall(match[2])]
    return Fault(pointer(*steps) if steps else "", match[1])
