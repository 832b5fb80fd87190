"""What is registered of goods, read from the part `registration` of a sealed record. Pure."""

from __future__ import annotations

import msgspec

from goodstrace.errors import EntryError

PART = "registration"
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


class _Registration(msgspec.Struct, frozen=True):
    key: str
    merchant: int
    what: str
    content: msgspec.Raw


def read_registration(part: bytes) -> tuple[MasterData, int]:
    """Read the registration of goods: what it says, and the number of the merchant who says it.

    Raises: EntryError, whatever the bytes; also where something else than goods is registered.
    """
    try:
        found = msgspec.json.decode(part, type=_Registration)
        if found.what != _GOODS:
            raise EntryError(f"the registration of a {found.what} stands where one of goods should")
        content = msgspec.json.decode(found.content, type=MasterData)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not a registration: {error}") from error
    if content.key != found.key:
        raise EntryError(f"the registration of {found.key} describes {content.key}")
    return content, found.merchant
