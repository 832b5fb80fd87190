"""Searching every store of a system for what it once knew of somebody: databases, topics, files of both servers, folders, logs and traces.

Each kind of place is searched in the way in which somebody would who has it, and `plant` leaves in each something that must be found. What may remain where,
and until when, is one table: `REMAINS`.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bson import encode
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.deadlines import DEADLINE_S
from tests.packs import opened
from tests.system.harness import System

SHORT: Final = ("browse.watched", "browse.observed", "browse.counted", "browse.alerts")
"""Topics that keep nothing for longer than two days."""
OFFSETS: Final = (".index", ".timeindex")
"""Files of a topic that hold offsets and times alone, and mostly nothing: 10 MB each."""
OPLOG: Final = "local.oplog.rs"


@dataclass(frozen=True)
class Remains:
    """What may be left of a user somewhere. places: a pattern of names of places. what: of names of texts. until: when it is gone, and why it may be there."""

    places: str
    what: str
    until: str


REMAINS: Final = (
    Remains(
        rf"topic ({'|'.join(map(re.escape, SHORT))})|file watch-data/.*",
        r"pseudonym \d+",
        "two days: what links it with somebody is deleted at once, and the day's key with the day",
    ),
    Remains(
        rf"kafka file ({'|'.join(map(re.escape, SHORT))})-\d+",
        r"pseudonym \d+",
        "the same topics as they lie on the broker's disk",
    ),
    Remains(
        rf"store file .*|{re.escape(OPLOG)}",
        r"name|account|session \d+|pseudonym \d+|webhook|wrapped key",
        "deleted documents, until the oplog rolls over and the pages of files are written over; the wrapped key opens by nothing once the vault is rotated",
    ),
)


def is_allowed(place: str, text: str) -> bool:
    """Whether a text of this name may be left in a place."""
    return any(re.fullmatch(each.places, place) and re.fullmatch(each.what, text) for each in REMAINS)


def stores(system: System) -> Iterator[tuple[str, bytes]]:
    """Give all that the services can read anywhere as bytes, each with the name of its place; packs are unpacked as well."""
    yield from _databases(system)
    yield from _oplog(system)
    yield from _topics(system)
    for path in sorted(system.run_dir.rglob("*")):
        if path.is_file() and system.key_dir not in path.parents:
            yield f"file {path.relative_to(system.run_dir)}", path.read_bytes()


def disks(system: System) -> Iterator[tuple[str, bytes]]:
    """Give the files of the broker and of the store as they lie on the disk: also what was deleted, and nobody reads any more."""
    folder, stack = system.stack.run_dir, system.stack
    for path in _files(folder / "kafka") if stack.kafka else ():
        topic = path.parent.name
        if topic.startswith((system.topic_prefix, "__")) and path.suffix not in OFFSETS:
            yield f"kafka file {topic.removeprefix(system.topic_prefix)}", _bytes(path)
    for path in _files(folder / stack.store.engine) if stack.store else ():
        yield f"store file {path.name}", _bytes(path)
    for path in _files(folder / "logs"):
        yield f"server log {path.name}", _bytes(path)


def places(
    system: System,
    texts: Mapping[str, str],
    *,
    with_disks: bool = False,
    more: Mapping[str, Path] | None = None,
) -> dict[str, set[str]]:
    """Say where each of some texts is found, by its name: as it is, as UTF-16, or as bytes where it is hexadecimal.

    Args:
        system: what is searched.
        texts: by their names.
        with_disks: whether the servers' files are searched, too.
        more: folders of others that belong to the system, by names of places.
    """
    found: dict[str, set[str]] = {name: set() for name in texts}
    forms = {
        name: {text.encode(), text.encode("utf-16-le"), *_bytes_of(text)} for name, text in texts.items()
    }
    for place, content in _all(system, with_disks=with_disks, more=more or {}):
        for name, those in forms.items():
            if any(form in content for form in those):
                found[name].add(place)
    return found


def _all(system: System, *, with_disks: bool, more: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    yield from stores(system)
    if with_disks:
        yield from disks(system)
    for place, folder in more.items():
        for path in _files(folder):
            yield f"{place} {path.name}", _bytes(path)


def plant(system: System) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Leave a text of its own in each kind of place; gives by its name the text, and beginnings of names of places one of which it must be found in."""
    texts = {
        name: f"planted {name} {os.urandom(8).hex()}"
        for name in ("key", "header", "value", "aborted", "kept", "deleted", "file")
    }
    _plant_in_kafka(system, texts)
    control = system.store["control"]
    for name in ("kept", "deleted"):
        control.insert_one({"_id": name, "text": texts[name]})
    control.delete_one({"_id": "deleted"})
    (system.run_dir / "control.txt").write_text(texts["file"])
    topics = [*((name, ("topic control",)) for name in ("key", "header", "value", "aborted"))]
    expected = [*topics, ("kept", (f"{system.database_name}.control",)), ("file", ("file control.txt",))]
    if system.stack.kafka:
        expected += [(name, ("kafka file control",)) for name in ("key", "header", "value", "aborted")]
    if system.stack.store:
        expected += [("kept", ("store file",)), ("deleted", ("store file",))]
    if "oplog.rs" in _local(system):
        expected += [("deleted", (OPLOG,))]
    return {f"{name} in {where[0]}": (texts[name], where) for name, where in expected}


def _plant_in_kafka(system: System, texts: Mapping[str, str]) -> None:
    topic = f"{system.topic_prefix}control"
    servers = {"bootstrap.servers": system.stack.kafka_bootstrap_servers}
    admin = AdminClient(servers)
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result(30)
    producer = Producer(servers | {"transactional.id": topic, "compression.type": "lz4"})
    producer.init_transactions(30)
    for text, is_kept in ((texts["value"], True), (texts["aborted"], False)):
        producer.begin_transaction()
        producer.produce(topic, text, texts["key"], headers={"control": texts["header"]})
        producer.flush(30)
        (producer.commit_transaction if is_kept else producer.abort_transaction)(30)


def _bytes_of(text: str) -> list[bytes]:
    return [bytes.fromhex(text)] if re.fullmatch(r"(?:[0-9a-f]{2}){12,}", text) else []


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _bytes(path: Path) -> bytes:
    with suppress(FileNotFoundError):  # servers remove files when they please
        return path.read_bytes().rstrip(b"\0")  # files that grow by large pieces
    return b""


def _databases(system: System) -> Iterator[tuple[str, bytes]]:
    client = system.store.client
    for name in (each for each in client.list_database_names() if each.startswith(system.database_name)):
        for collection in client[name].list_collection_names():
            for document in client[name][collection].find():
                yield f"{name}.{collection}", encode(document)
                if collection == "packs":
                    yield f"{name}.{collection} unpacked", _flat(opened(document))


def _local(system: System) -> list[str]:
    client = system.store.client
    return client["local"].list_collection_names() if "local" in client.list_database_names() else []


def _oplog(system: System) -> Iterator[tuple[str, bytes]]:
    """Give what the store keeps of writes, where it has an oplog; of other systems on the same store nothing."""
    if "oplog.rs" in _local(system):
        for document in system.store.client["local"]["oplog.rs"].find(
            {"ns": {"$regex": f"^{re.escape(system.database_name)}"}}
        ):
            yield OPLOG, encode(document)


def _flat(value: Any) -> bytes:
    """Give all texts and bytes in a value, one behind the other."""
    if isinstance(value, dict):
        return b"\n".join(map(_flat, value.values()))
    if isinstance(value, list | tuple):
        return b"\n".join(map(_flat, value))
    return value if isinstance(value, bytes) else str(value).encode()


def _topics(system: System) -> Iterator[tuple[str, bytes]]:
    """Give keys, values and headers of all records, those of transactions that were aborted too."""
    servers = {"bootstrap.servers": system.stack.kafka_bootstrap_servers}
    listed = AdminClient(servers).list_topics(timeout=DEADLINE_S).topics
    own = {name: each for name, each in listed.items() if name.startswith(system.topic_prefix)}
    consumer = Consumer(
        servers
        | {"group.id": f"{system.topic_prefix}search", "enable.auto.commit": False}
        | {"enable.partition.eof": True, "isolation.level": "read_uncommitted"}
    )
    try:
        left = {(name, each) for name, topic in own.items() for each in topic.partitions}
        consumer.assign([TopicPartition(*each, OFFSET_BEGINNING) for each in left])
        until = time.monotonic() + 60
        while left:
            assert time.monotonic() < until, f"{left} were not read to their end"
            for message in consumer.consume(1000, timeout=0.05):
                name = message.topic() or ""
                error = message.error()
                if error is None:
                    yield f"topic {name.removeprefix(system.topic_prefix)}", _told(message)
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    left.discard((name, message.partition() or 0))
    finally:
        consumer.close()


def _told(message: Message) -> bytes:
    headers = b"\n".join(f"{name}\n".encode() + (value or b"") for name, value in message.headers() or ())
    return b"\n".join((message.key() or b"", message.value() or b"", headers))
