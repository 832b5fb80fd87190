"""Browse records: who looked at what, who tried to, and who changed whose account; acknowledged by Kafka before anything is shown or changed, sealed by the audit service.

Used by every service that shows parts of records. The record's parts are `who`, `what`, `purpose` and `outcome`, each one
JSON object with sorted keys; all but `outcome` are encrypted under the key that the vault has for the user (`goodstrace.encrypted_parts`); a user whom the look asks for by name is named
in `what` under that one's own key (`goodstrace.asked_user`). Its tags are the
keys asked for and its own ID, by which a receipt finds it. What is found by a user is found by an index that can be erased, to which `browse.watched` tells of
each look under a pseudonym of the day.

Records of earlier versions have their parts in clear, and a tag of the user: they are read as before.
"""

import os
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from goodstrace import asked_user
from goodstrace.encrypted_parts import encrypt, record_key
from goodstrace.entry import ID_BYTES, SALT_BYTES, Kind, TagKind
from goodstrace.facts import PIPELINE_VERSION
from goodstrace.merkle import leaf_hash
from goodstrace.record.v1 import record_pb2
from services.runtime import clock, envelope
from services.runtime.access.current import network, principal
from services.runtime.access.values import EVERYBODY, Means, Principal, Role
from services.runtime.acknowledged import AcknowledgedProducer, Outgoing
from services.runtime.blocking import Blocking
from services.runtime.envelope import Part, Record
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.looks import Look, note
from services.runtime.partitioner import partition_of
from services.runtime.topics import GOODS_BROWSED
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute, messaging
from services.runtime.tracing.spans import Span
from services.runtime.vault import Person
from services.sealing.entries import with_entry

_SEND: Final = messaging("send", "send", GOODS_BROWSED)
LOGS: Final = "browse/"
CLEAR: Final = "outcome"
"""The part that stays in clear: how many records were shown, or why none, says nothing of anybody."""
_ROLES: Final = (Role.AUDITOR, Role.OPERATOR, Role.PLATFORM, Role.MERCHANT, Role.SHOPPER)
"""By how much they show of events, most first: an operator that made itself an auditor looks as one."""
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class NotRecordedError(UnavailableError):
    """Kafka did not acknowledge the browse record: nothing may be shown."""


class BrowseKind(StrEnum):
    """What a browse record is of: a look, an attempt to sign in, a call that was refused for who made it, or a change of an account."""

    LOOK = "look"
    SIGN_IN = "sign-in"
    REFUSAL = "refusal"
    ACCOUNT_CHANGE = "account-change"


_BY_CALLERS: Final = frozenset({BrowseKind.LOOK, BrowseKind.ACCOUNT_CHANGE})
"""What somebody does who was let in: the record says who the caller is without being told."""


class Browse(msgspec.Struct, frozen=True, kw_only=True):
    """One look, attempt to sign in, refusal, or change of an account.

    user: who looked. method: the call's bare name, such as "Trace". keys: the canonical keys (or event ID) asked for.
    sizes: the checkpoints' sizes by log that the answer is made from. purpose: as given. events: how many records
    were shown. asked_user: for what is asked about a user by name, that user; the name stands nowhere else. query: what else the answer depends on, as the caller
    wrote it; empty where the keys say it all. merchant: for whom the caller acts, 0 for none. kind: what the record is of. means: what the
    caller showed, empty where it is not told. network: from where, without the last part of the address; empty where it is not told. refused:
    why it was refused, from a closed set; empty where it was granted. times: of how many like it the record stands for, where it is more than one.
    role: what the caller is to the system, see `role_of`; empty where it is not told.
    """

    user: str
    method: str
    keys: tuple[str, ...]
    sizes: Mapping[str, int]
    purpose: str
    events: int
    asked_user: str = ""
    query: str = ""
    merchant: int = 0
    kind: BrowseKind = BrowseKind.LOOK
    means: str = ""
    network: str = ""
    refused: str = ""
    times: int = 1
    role: str = ""


class PeopleSource(Protocol):
    """Knows who looks: `services.runtime.vault.People`."""

    async def person(self, name: str, time_ms: int) -> Person:
        """Give the one with this name. Raises: ServiceError."""
        ...

    async def asked(self, name: str, record_id: bytes) -> bytes:
        """Give the key, 32 bytes, under which a record names a user that it asks for. Raises: ServiceError."""
        ...


class Recorder(Protocol):
    """Records looks; `BrowseRecorder` is the real one."""

    async def record(self, browse: Browse) -> str:
        """Record a look and give its record's ID; it is durable when this returns. Raises: NotRecordedError."""
        ...


def role_of(who: Principal) -> str:
    """Give the one role by which looks are counted; empty where none is known, as where accounts are off."""
    return "" if who == EVERYBODY else next((role.value for role in _ROLES if role in who.roles), "")


def browse_record(
    browse: Browse,
    *,
    secret: bytes,
    user_key: bytes,
    record_id: bytes,
    time_ms: int,
    salts: tuple[bytes, ...],
    traceparent: str = "",
    asked_key: bytes = b"",
) -> Record:
    """Build the record of a look with its entry. No I/O, no clock, no randomness.

    Args:
        browse: the look.
        secret: the index secret, 32 bytes.
        user_key: the vault's key of the user, 32 bytes.
        record_id: 16 random bytes, never used before: each part is encrypted under a key that follows from it.
        time_ms: Unix milliseconds.
        salts: one of 32 random bytes for each of the four parts.
        traceparent: the W3C trace context for its way to the seal, or empty; no part of what is sealed.
        asked_key: the vault's key of the user asked for, where there is one.
    Raises: ValueError where a user is asked for and the key is not there.
    """
    asked = asked_user.encrypted(asked_key, record_id, browse.asked_user) if browse.asked_user else b""
    parts = tuple(
        Part(name, salt, content if name == CLEAR else _encrypted(user_key, record_id, name, content))
        for (name, content), salt in zip(contents_of(browse, asked).items(), salts, strict=True)
    )
    record = Record(
        id=record_id,
        kind=Kind.BROWSE,
        time_ms=time_ms,
        pipeline_version=PIPELINE_VERSION,
        parts=parts,
        traceparent=traceparent,
    )
    return with_entry(record, secret, {TagKind.KEY: browse.keys, TagKind.RECORD: (record_id.hex(),)})


def contents_of(browse: Browse, asked: bytes = b"") -> dict[str, bytes]:
    """Give what the parts of a look say, in clear, by name in their order. Pure.

    Args:
        browse: the look.
        asked: the user asked for, encrypted; where it is empty the name is in clear, as in records of earlier versions.
    """
    what: dict[str, object] = {
        "checkpoints": [{"log": log, "size": size} for log, size in sorted(browse.sizes.items())],
        "keys": list(browse.keys),
        "method": browse.method,
    }
    if asked:
        what[asked_user.MEMBER] = msgspec.Raw(asked)
    elif browse.asked_user:
        what["user"] = browse.asked_user
    if browse.query:
        what["query"] = browse.query
    if browse.kind is not BrowseKind.LOOK:
        what["kind"] = browse.kind
    contents: dict[str, object] = {
        "who": _told(
            user=browse.user,
            merchant=browse.merchant,
            means=browse.means,
            network=browse.network,
            role=browse.role,
        ),
        "what": what,
        "purpose": {"purpose": browse.purpose},
        "outcome": {
            "events": browse.events,
            **_told(refused=browse.refused, times=browse.times if browse.times > 1 else 0),
        },
    }
    return {name: _ENCODER.encode(content) for name, content in contents.items()}


def watched_browse(
    browse: Browse, person: Person, *, record_id: bytes, time_ms: int
) -> record_pb2.WatchedBrowse:
    """Build what is told of a look beside its record. Pure.

    It is in clear, and no user is erased from it: the keys of a change of an account name the account, so they are left out.
    """
    return record_pb2.WatchedBrowse(
        record_id=record_id,
        time_ms=time_ms,
        pseudonym=person.pseudonym,
        merchant=browse.merchant,
        network=browse.network,
        method=browse.method,
        kind=browse.kind,
        keys=() if browse.kind is BrowseKind.ACCOUNT_CHANGE else browse.keys,
        events=browse.events,
        refused=browse.refused,
        times=browse.times,
        first_seen=person.first_seen,
        role=browse.role,
    )


def _encrypted(user_key: bytes, record_id: bytes, name: str, content: bytes) -> bytes:
    return encrypt(record_key(user_key, record_id, name), record_id, name, content)


def _told(**members: str | int) -> dict[str, object]:
    """Give the members that say something."""
    return {name: value for name, value in members.items() if value}


class BrowseRecorder:
    """Records looks in `goods.browsed`, and tells of them in `browse.watched`; a look may be answered once `record` has returned."""

    def __init__(
        self,
        producer: AcknowledgedProducer,
        people: PeopleSource,
        *,
        topic: str,
        watched: str,
        partitions: int,
        secret: bytes,
        timeout_s: float,
        observe_seconds: Callable[[float], None],
        blocking: Blocking | None = None,
    ) -> None:
        """Record to `topic`, and tell the topic `watched`, which has as many partitions; an acknowledgement is waited for `timeout_s` at the most and its time is observed. Looks of whom `blocking` refuses are not recorded."""
        self._producer, self._people = producer, people
        self._topic, self._watched = topic, watched
        self._partitions = partitions
        self._secret = secret
        self._timeout_s = timeout_s
        self._observe_seconds = observe_seconds
        self._blocking = blocking

    async def record(self, browse: Browse) -> str:
        """Record a look and give its record ID as hex; when this returns the record is durable in Kafka.

        What a look or a change of an account does not say of who made it (`means`, `merchant`, `network`, `role`) is filled in from who calls.

        Raises: BlockedError where who looks is blocked; NotRecordedError where the vault does not give the user's key, or the acknowledgement does not come in time: show nothing then. The record may be in
        Kafka all the same: a record without an answer is possible, an answer without a record is not.
        """
        if browse.kind in _BY_CALLERS:
            who = principal()
            means = browse.means or ("" if who.means is Means.NOTHING else who.means)
            browse = msgspec.structs.replace(
                browse,
                means=means,
                merchant=browse.merchant or who.merchant,
                network=browse.network or network(),
                role=browse.role or role_of(who),
            )
        if self._blocking is not None and browse.kind is BrowseKind.LOOK:
            await self._blocking.check(user=browse.user, network=browse.network)
        with spans.span(f"send {GOODS_BROWSED}", spans.Kind.PRODUCER, _SEND) as opened:
            return await self._sent(browse, opened)

    async def _sent(self, browse: Browse, opened: Span) -> str:
        record_id, time_ms = os.urandom(ID_BYTES), clock.now_ms()
        opened.say(Attribute.BROWSE, record_id.hex())
        partition = partition_of(record_id, self._partitions)
        try:
            person = await self._people.person(browse.user, time_ms)
            name = browse.asked_user
            record = browse_record(
                browse,
                asked_key=await self._people.asked(name, record_id) if name else b"",
                secret=self._secret,
                user_key=person.key,
                record_id=record_id,
                time_ms=time_ms,
                salts=tuple(os.urandom(SALT_BYTES) for _ in range(4)),
                traceparent=spans.handed_on(opened, ""),
            )
            if browse.kind is BrowseKind.LOOK:
                # Before it is sent: one that was not acknowledged may be sealed all the same, and has failed.
                note(Look(record_id, leaf_hash(record.entry), f"{LOGS}{partition}", record.time_ms))
            told = watched_browse(browse, person, record_id=record_id, time_ms=time_ms).SerializeToString()
            outgoing = (
                Outgoing(self._topic, partition, record_id, envelope.encode(record)),
                Outgoing(self._watched, partition, record_id, told),
            )
            began = time.perf_counter()
            await self._producer.send_together(outgoing, self._timeout_s)
        except ServiceError as error:
            opened.fail(error.category)
            raise NotRecordedError(str(error)) from error
        self._observe_seconds(time.perf_counter() - began)
        return record_id.hex()

    async def ping(self, timeout_s: float) -> None:
        """Raise UnavailableError unless looks can be recorded now."""
        await self._producer.ping(self._topic, timeout_s)
        await self._producer.ping(self._watched, timeout_s)
