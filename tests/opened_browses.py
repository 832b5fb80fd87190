"""Browse records as tests read them: decrypted by the keys of a vault, or made in clear as they were before there was one."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pymongo import MongoClient

from goodstrace import asked_user
from goodstrace.encrypted_parts import decrypt, is_encrypted, record_key
from goodstrace.entry import Kind, TagKind
from goodstrace.facts import PIPELINE_VERSION
from services.runtime.access.naming import NOBODIES
from services.runtime.envelope import Part, Record
from services.runtime.vault import Person
from services.runtime.vault.keys import KEYS, USER
from services.runtime.vault.wrapping import Ring
from services.sealing.browse import Browse, contents_of
from services.sealing.entries import with_entry


class OpenedVault:
    """The vault of a running system, opened by the one who has its key-encryption keys."""

    def __init__(self, mongodb_uri: str, database: str, ring: Ring) -> None:
        self._uri, self.database, self._ring = mongodb_uri, database, ring

    def user_keys(self) -> list[bytes]:
        """The keys of all users that are there now."""
        return self._keys({"kind": USER})

    def personal_keys(self) -> list[bytes]:
        """The keys of personal data in events that are there now."""
        return self._keys({"event": {"$exists": True}})

    def _keys(self, which: dict[str, Any]) -> list[bytes]:
        with MongoClient[dict[str, Any]](self._uri) as client:
            documents = list(client[self.database][KEYS].find(which))
        return [self._ring.unwrap(each, bytes(each["_id"])) for each in documents]


class MemoryPeople:
    """Knows everybody, by keys that follow from names."""

    def __init__(self) -> None:
        self.seen: dict[str, bytes] = {}

    @staticmethod
    def key(name: str) -> bytes:
        """The key of a user."""
        return hashlib.sha256(name.encode()).digest()

    async def person(self, name: str, time_ms: int) -> Person:
        del time_ms
        key = self.key(name)
        is_first = name not in self.seen
        self.seen[name] = key
        return Person(key, name if name in NOBODIES else key[:12].hex(), first_seen=is_first)

    async def asked(self, name: str, record_id: bytes) -> bytes:
        del record_id
        self.seen.setdefault(name, self.key(name))
        return self.key(name)

    def opened(self, record: Record) -> Record:
        """A record with its parts decrypted."""
        return opened_record(record, self.seen.values())


def opened_record(record: Record, user_keys: Iterable[bytes]) -> Record:
    """The record with its parts in clear, where a key opens them; parts that none opens stay as they are."""
    keys = list(user_keys)
    parts = tuple(
        msgspec.structs.replace(part, content=opened_content(record.id, part.name, part.content, keys))
        for part in record.parts
    )
    return msgspec.structs.replace(record, parts=parts)


def opened_content(record_id: bytes, name: str, content: bytes, user_keys: Iterable[bytes]) -> bytes:
    """The clear content of a part by whichever key opens it."""
    if is_encrypted(content):
        for user_key in user_keys:
            key = record_key(user_key, record_id, name)
            if hashlib.sha256(key).hexdigest().encode() in content:
                clear = decrypt(key, record_id, name, content)
                return _with_name(record_id, clear, user_keys) if name == asked_user.PART else clear
    return content


def _with_name(record_id: bytes, what: bytes, user_keys: Iterable[bytes]) -> bytes:
    asked = asked_user.asked_in(what)
    for user_key in user_keys if asked else ():
        key = record_key(user_key, record_id, asked_user.MEMBER)
        if hashlib.sha256(key).hexdigest().encode() in (asked or b""):
            return asked_user.with_name(what, key, record_id)
    return what


def opened_parts(
    record_id: bytes, parts: Mapping[str, bytes], user_keys: Iterable[bytes]
) -> dict[str, bytes]:
    """The clear contents of parts by name."""
    keys = list(user_keys)
    return {name: opened_content(record_id, name, content, keys) for name, content in parts.items()}


def clear_record(
    browse: Browse, *, secret: bytes, record_id: bytes, time_ms: int, salts: tuple[bytes, ...]
) -> Record:
    """The record of a look as they were before the vault: all in clear, with a tag of the user."""
    parts = tuple(
        Part(name, salt, content)
        for (name, content), salt in zip(contents_of(browse).items(), salts, strict=True)
    )
    record = Record(
        id=record_id, kind=Kind.BROWSE, time_ms=time_ms, pipeline_version=PIPELINE_VERSION, parts=parts
    )
    return with_entry(record, secret, {TagKind.KEY: browse.keys, TagKind.USER: (browse.user,)})
