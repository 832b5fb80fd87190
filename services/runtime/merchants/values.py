"""Merchants, goods and places as they are registered. Pure; the limits of every field are checked as it is decoded."""

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from goodstrace.visibility import VisibilityPolicy

MAX_NUMBER: Final = 2**53 - 1
MAX_LISTED: Final = 200

_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_Uri = Annotated[str, Meta(min_length=3, max_length=2048, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s]+$")]
_Prefix = Annotated[str, Meta(pattern=r"^[0-9]{4,12}$")]
_Gln = Annotated[str, Meta(pattern=r"^[0-9]{13}$")]
_Number = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
_Milliseconds = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
_Language = Annotated[
    str, Meta(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}$", max_length=64)
]  # the shape of BCP 47, without its register
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
_Names = Annotated[dict[_Language, _Text], Meta(min_length=1, max_length=100)]


class What(StrEnum):
    """What a registration is of."""

    MERCHANT = "merchant"
    GOODS = "goods"
    PLACE = "place"


class Status(StrEnum):
    """Whether a merchant may capture."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class PersonalData(StrEnum):
    """What becomes of personal data in a merchant's events: it is moved into an encrypted part, or the event is refused."""

    MOVE = "move"
    REFUSE = "refuse"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """What is told from outside: a field that nobody knows is a fault, in camel case."""


class Delegation(_Strict, frozen=True):
    """A merchant lets another one speak for some of its goods, until a time.

    to: the other's number. scope: a GS1 company prefix (4 to 12 digits), a GLN (13 digits), or a URI as in `Merchant.uris`.
    until_ms: Unix milliseconds.
    """

    to: _Number
    scope: Annotated[str, Meta(min_length=4, max_length=2048)]
    until_ms: _Milliseconds


class Limits(_Strict, frozen=True):
    """A merchant's own limits; 0 stands for the collector's. Rates are a second's, sizes bytes."""

    events_per_s: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    bytes_per_s: Annotated[int, Meta(ge=0, le=10**11)] = 0
    body_bytes: Annotated[int, Meta(ge=0, le=2**30)] = 0


class Merchant(_Strict, frozen=True):
    """A merchant.

    prefixes: its GS1 company prefixes. glns: its locations' and parties' numbers outside these. uris: other URIs that are
    its own, each with everything below it; also a single GTIN (https://id.gs1.org/01/...). everything: it speaks for all goods, as
    the platform's own back end does, which has checked itself whose they are. delegations: what it lets others speak for.
    signing_keys: its public keys as JSON Web Keys, for docs/signatures.md. visibility: who may see its events, see docs/visibility.md.
    personal_data: what becomes of personal data in its events, None: as the collector's setting says; see docs/personal-data.md.
    """

    name: _Text
    status: Status = Status.ACTIVE
    prefixes: Annotated[tuple[_Prefix, ...], Meta(max_length=MAX_LISTED)] = ()
    glns: Annotated[tuple[_Gln, ...], Meta(max_length=MAX_LISTED)] = ()
    uris: Annotated[tuple[_Uri, ...], Meta(max_length=MAX_LISTED)] = ()
    everything: bool = False
    delegations: Annotated[tuple[Delegation, ...], Meta(max_length=MAX_LISTED)] = ()
    limits: Limits = Limits()
    signing_keys: Annotated[tuple[dict[str, Any], ...], Meta(max_length=20)] = ()
    visibility: VisibilityPolicy = VisibilityPolicy()
    personal_data: PersonalData | None = None


class Picture(_Strict, frozen=True):
    """A picture where it lies, and what it must be."""

    uri: _Uri
    sha256: _Sha256


class Goods(_Strict, frozen=True):
    """Goods: their key (a GTIN as Digital Link, or any other URI), names by language, pictures, what else is said of them."""

    key: _Uri
    names: _Names
    pictures: Annotated[tuple[Picture, ...], Meta(max_length=20)] = ()
    attributes: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=100)], Annotated[str, Meta(max_length=1000)]],
        Meta(max_length=100),
    ] = {}


class Coordinates(_Strict, frozen=True):
    """A point on Earth in degrees, WGS 84."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]


class Place(_Strict, frozen=True):
    """A place or a party: its key (a GLN as Digital Link, or any other URI). `country` is ISO 3166-1 alpha-2."""

    key: _Uri
    names: _Names
    kind: Annotated[str, Meta(min_length=1, max_length=100)] = ""
    street: Annotated[str, Meta(max_length=200)] = ""
    postal_code: Annotated[str, Meta(max_length=20)] = ""
    city: Annotated[str, Meta(max_length=100)] = ""
    region: Annotated[str, Meta(max_length=100)] = ""
    country: Annotated[str, Meta(pattern=r"^([A-Z]{2})?$")] = ""
    coordinates: Coordinates | None = None


Content = Merchant | Goods | Place


def plain(content: Content) -> dict[str, Any]:
    """Give content as JSON values just as they come back from the store, fields at their defaults left out."""
    return msgspec.json.decode(msgspec.json.encode(content), type=dict[str, Any])
