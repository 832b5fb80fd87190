"""What is registered of goods, read from the part `registration` of a sealed record. Pure."""

from __future__ import annotations

import msgspec

from goodstrace import registration
from goodstrace.errors import EntryError

PART = registration.PART
_GOODS = "goods"


class Picture(msgspec.Struct, frozen=True):
    """A picture where it lies, and its SHA-256 as hex."""

    uri: str
    sha256: str


class MasterData(msgspec.Struct, frozen=True):
    """What is said of goods: names by language, pictures, attributes. See docs/merchants.md."""

    key: str
    names: dict[str, str]
    pictures: tuple[Picture, ...] = ()
    attributes: dict[str, str] = {}


def read_registration(part: bytes) -> tuple[MasterData, int]:
    """Read the registration of goods: what it says, and the number of the merchant who says it.

    Raises: EntryError, whatever the bytes; also where something else than goods is registered.
    """
    found = registration.decode(part)
    if found.what != _GOODS:
        raise EntryError(f"the registration of a {found.what} stands where one of goods should")
    try:
        content = msgspec.convert(found.content, MasterData)
    except msgspec.ValidationError as error:
        raise EntryError(f"not a registration of goods: {error}") from error
    if content.key != found.key:
        raise EntryError(f"the registration of {found.key} describes {content.key}")
    return content, found.merchant
