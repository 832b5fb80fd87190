"""Makes tests/vectors/trace_answers.json: whole answers of Trace, with what must come out, and forgeries that must be refused.

    python -m tests.trace_vectors > tests/vectors/trace_answers.json

Simulated events go through the collector's stages, with fixed clock and randomness, into two logs; the engine traces over them.
"""

import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from goodstrace import facts as sealed_facts
from goodstrace.cosignature import Cosigner
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys
from goodstrace.note import Note, parse_note
from goodstrace.query.v1 import trace_pb2
from goodstrace.simulate import Simulation, SimulationOptions
from goodstrace.tracing import Direction, Query, SealedFacts, drive, trace
from goodstrace.tracing.events import names as names_of
from goodstrace.tracing.wire import mention_messages, node_message
from goodstrace.verification import verify_checkpoints, verify_event
from services.query.walk import TAG_KINDS
from services.runtime.envelope import Record
from services.runtime.partitioner import event_key, partition_of
from tests.trace_forgeries import forgeries
from tests.unit.collector_builders import (
    SECRET,
    counted,
    document,
    object_event,
    processed_document,
)
from tests.unit.fake_services import FakeLog
from tests.unit.tracing_builders import Source

ABOUT: Final = (
    "Answers of goodstrace.query.v1.TraceService/Trace. `vkeys` are the trusted keys of the logs, `witness` is the vkey of the "
    "witness that cosigned the checkpoints at `cosigned_at` (Unix seconds), `index_secret` (hex) derives the tags of the entries. "
    "`answers` hold: `answer` is a TraceResponse (base64), `lines` what the clients of examples/ print of it, `json` the last one "
    "again as protobuf's JSON. `tags` has the tags of its entries, and what they stand for by kind and text. `refused` are forgeries of the last answer, "
    "of which a client must believe nothing."
)
LOGS: Final = ("goods/0", "goods/1")
COSIGNED_AT: Final = 1_800_000_000
MERCHANT: Final = 1
CRATE: Final = "urn:example:crate:7"
Answer = trace_pb2.TraceResponse


class World:
    """Two logs of simulated events, one of them sealed twice."""

    def __init__(self) -> None:
        simulation = Simulation(
            SimulationOptions(seed=4, events=60, depth=2, items_per_case=2, cases_per_pallet=1)
        )
        documents = [each.to_bytes() for each in simulation.documents()]
        self.item = simulation.interesting().item or ""
        self.logs = {name: FakeLog(name, seed) for seed, name in enumerate(LOGS, 1)}
        self.witness = Cosigner("witness.example/größe", bytes([9]) * 32)
        self.records: dict[tuple[str, int], Record] = {}
        self.sealed: list[SealedFacts] = []
        look = object_event(eventID="https://example.com/e?a=1&b=größe", epcList=[self.item, CRATE])
        put = {
            "type": "AggregationEvent",
            "eventTime": "2026-01-02T05:00:00+02:00",
            "eventTimeZoneOffset": "+02:00",
            "parentID": "https://id.gs1.org/00/095201234567891235",
            "childEPCs": [CRATE],
            "action": "ADD",
            "bizStep": "packing",
        }
        moved = object_event(
            eventID="urn:example:moved", epcList=[CRATE], bizStep="storing", eventTime="2026-01-03T00:00:00Z"
        )
        # One is sealed again, as it is where it comes after the window of duplicates.
        for body in (*documents, *map(document, (look, put, moved, look))):
            self._seal(body)

    def _seal(self, body: bytes) -> None:
        random = counted(10_000 * (len(self.records) + 1))
        for item in processed_document(body, random=random, merchant=MERCHANT):
            partition = partition_of(event_key(MERCHANT, item.facts.event_id), len(LOGS))
            log = self.logs[LOGS[partition]]
            record = item.record
            log.records.append(
                (record.entry, [(each.name, each.salt, each.content) for each in record.parts])
            )
            self.records[log.name, log.size - 1] = record
            facts = sealed_facts.decode(record.part("facts").content)
            self.sealed.append(SealedFacts(log.name, log.size - 1, MERCHANT, record.time_ms, facts))

    def checkpoints(self) -> list[log_pb2.Checkpoint]:
        """The checkpoints, cosigned."""
        return [self.cosigned(log.checkpoint()) for log in self.logs.values()]

    def cosigned(self, checkpoint: log_pb2.Checkpoint) -> log_pb2.Checkpoint:
        """The same with the witness's signature."""
        note = parse_note(checkpoint.note)
        line = self.witness.cosign(note.text, COSIGNED_AT)
        return log_pb2.Checkpoint(log=checkpoint.log, note=Note(note.text, (*note.signatures, line)).encode())

    def answer(self, key: str, direction: Direction) -> Answer:
        """What the service answers."""
        found = drive(trace(Query(key, direction)), Source(self.sealed))
        events = []
        for each in found.events:
            places = [self.logs[log].sealed(index) for log, index in each.positions]
            mentions = mention_messages(each.mentions)
            events.append(
                trace_pb2.TraceEvent(
                    identity=each.identity,
                    sealed=places[0],
                    also_at=places[1:],
                    marks=each.marks,
                    mentions=mentions,
                )
            )
        return Answer(
            key=key,
            nodes=[node_message(node) for node in found.nodes],
            events=events,
            checkpoints=self.checkpoints(),
            total_events=len(events),
            browse_id="ab" * 16,
        )


def lines(answer: Answer, keys: LogKeys) -> list[str]:
    """What the clients print of an answer that holds. Raises: VerificationError and others where it does not."""
    checkpoints = verify_checkpoints(answer.checkpoints, keys)
    shown = {}
    for message in answer.events:
        event = verify_event(message, checkpoints)
        place, facts = event.position, event.facts
        text = "an event withheld"
        if facts is not None:
            time = datetime.fromtimestamp(facts.time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            text = " ".join(filter(None, (time, facts.type, facts.action, facts.step, facts.event_id)))
        shown[event.identity] = f"{text} at {place.log}[{place.index}]"
    found = [answer.key]
    for node in answer.nodes:
        way = trace_pb2.Direction.Name(node.direction).removeprefix("DIRECTION_").lower()
        found.append(f"level {node.level} {way} {node.role} {node.grade} {node.key}")
        for link in node.links:
            found += [f"  {link.kind} of {link.key} by {shown[identity]}" for identity in link.identities]
        found += [
            f"  {shown[event.identity]}"
            for event in answer.events
            for mention in event.mentions
            if mention.key == node.key
        ]
    sizes = {log: each.checkpoint.size for log, each in checkpoints.items()}
    return found + [f"proved under {log} of {size} entries" for log, size in sizes.items()]


def withheld(answer: Answer) -> Answer:
    """The same with nothing shown of the second event."""
    changed = Answer()
    changed.CopyFrom(answer)
    del changed.events[1].sealed.parts[:]
    changed.withheld = 1
    return changed


def tag_vectors(world: World, answer: Answer) -> Iterator[dict[str, Any]]:
    """The tags of the entries of an answer, as the stage derived them, and what they stand for."""
    for sealed in (event.sealed for event in answer.events):
        record = world.records[sealed.log, sealed.index]
        facts = sealed_facts.decode(record.part("facts").content)
        named = [{"kind": int(TAG_KINDS[kind]), "text": text} for kind, text in names_of(facts)]
        tags = [tag.hex() for tag in record.tags]
        yield {"log": sealed.log, "index": sealed.index, "named": named, "tags": tags}


def vectors() -> dict[str, Any]:
    """The whole file."""
    world = World()
    keys = LogKeys(log.signer.verifier for log in world.logs.values())
    crate = world.answer(CRATE, Direction.BOTH)
    answers = {
        "an item, both directions, over three levels": world.answer(world.item, Direction.BOTH),
        "a crate, one event withheld": withheld(crate),
        "a crate": crate,
    }

    def bytes_of(answer: Answer) -> str:
        return base64.b64encode(answer.SerializeToString(deterministic=True)).decode()

    return {
        "about": ABOUT,
        "vkeys": [log.signer.verifier.vkey() for log in world.logs.values()],
        "witness": world.witness.verifier.vkey(),
        "cosigned_at": COSIGNED_AT,
        "index_secret": SECRET.hex(),
        "answers": [
            {"what": what, "answer": bytes_of(answer), "lines": lines(answer, keys)}
            for what, answer in answers.items()
        ],
        "json": MessageToDict(crate, preserving_proto_field_name=True),
        "tags": list(tag_vectors(world, crate)),
        "refused": [
            {"what": what, "answer": bytes_of(forged)}
            for what, forged in forgeries(crate, world.logs[LOGS[0]]).items()
        ],
    }


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
