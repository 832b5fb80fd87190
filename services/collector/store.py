"""Stage `store`: the event's tags and entry. Pure.

The goods information follows what this stage writes (docs/decisions/0008).
From here on nothing encodes the record again: the entry commits to the exact bytes of its parts.
"""

from goodstrace.entry import Kind, TagKind
from goodstrace.errors import EntryError
from goodstrace.facts import Facts, Role
from services.collector.flow import Accepted, Item, Outcome, Reason, StageName, reject, settled
from services.collector.record import keys_of
from services.runtime import envelope
from services.sealing.entries import with_entry


def store(secret: bytes, item: Item) -> Outcome:
    """Make the record's tags and entry, under the index secret.

    An entry that would break its limits is refused as TOO_LARGE, so that the ledger never meets it.
    """
    item = settled(item)
    assert item.wire is not None
    try:
        whole = with_entry(item.record, secret, tags_of(item.facts, item.record.kind))
    except EntryError as error:
        return reject(item.record, StageName.STORE, Reason.TOO_LARGE, str(error))
    value = item.wire + envelope.entry_fields(whole.entry, whole.tags)
    return Accepted(Item(whole, item.facts, item.event, value))


def tags_of(facts: Facts, kind: Kind = Kind.EVENT) -> dict[TagKind, set[str]]:
    """List what an event, or a registration, can be found by, by kind of tag. No tag finds both."""
    if kind is Kind.REGISTRATION:
        return {TagKind.REGISTRATION: set(facts.keys[Role.REGISTERED])}
    return {
        TagKind.KEY: keys_of(facts),
        TagKind.EVENT_ID: {facts.event_id, facts.event_hash},
        TagKind.TRANSFORMATION: {facts.transformation} if facts.transformation else set(),
        TagKind.ORDER: {transaction.key for transaction in facts.transactions},
    }
