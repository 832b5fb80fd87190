"""Event records made by hand, without the collector."""

import hashlib
import json
from typing import Any

from goodstrace import facts as sealed_facts
from goodstrace.entry import Kind, TagKind
from goodstrace.facts import Facts
from goodstrace.tracing.events import names as names_of
from goodstrace.tracing.names import TAG_KINDS
from services.runtime.envelope import Part, Record
from services.sealing.entries import with_entry


def event(number: int, *keys: str, secret: bytes, content: bytes = b"", **facts: Any) -> Record:
    """Make the record of an object event that names `keys`, with its entry; equal numbers give equal records."""
    name = f"urn:uuid:{number:032x}"
    known = Facts(
        event_id=facts.pop("event_id", name),
        event_hash=facts.pop(
            "event_hash", f"ni:///sha-256;{hashlib.sha256(name.encode()).hexdigest()}?ver=CBV2.0"
        ),
        type="ObjectEvent",
        time_us=1_700_000_000_000_000 + number * 1_000_000,
        offset="+00:00",
        pipeline="1",
        action="OBSERVE",
        keys={"epc": tuple(sorted(keys))},
        **facts,
    )
    random = hashlib.shake_256(f"{number}/{content[:64]!r}".encode()).digest(80)
    body = content or json.dumps({"type": "ObjectEvent", "eventID": name, "epcList": keys}).encode()
    record = Record(
        id=random[:16],
        kind=Kind.EVENT,
        time_ms=1_700_000_000_000 + number,
        pipeline_version="1",
        merchant=1,
        parts=(Part("event", random[16:48], body), Part("facts", random[48:], sealed_facts.encode(known))),
    )
    named: dict[TagKind, list[str]] = {}
    for kind, text in names_of(known):
        named.setdefault(TAG_KINDS[kind], []).append(text)
    return with_entry(record, secret, named)
