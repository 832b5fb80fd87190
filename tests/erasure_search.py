"""Searching every store of a system for what it once knew of somebody: all databases, topics, folders and logs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bson import encode
from confluent_kafka.admin import AdminClient

from tests.packs import opened
from tests.system.harness import System

SHORT = ("browse.watched", "browse.observed", "browse.counted", "browse.alerts")
"""Topics that keep nothing for longer than two days."""


def stores(system: System) -> Iterator[tuple[str, bytes]]:
    """Give all that lies anywhere as bytes, each with the name of its place; packs are unpacked as well."""
    yield from _databases(system)
    yield from _topics(system)
    for path in sorted(system.run_dir.rglob("*")):
        if path.is_file() and system.key_dir not in path.parents:
            yield f"file {path.relative_to(system.run_dir)}", path.read_bytes()


def places(system: System, texts: Mapping[str, str]) -> dict[str, set[str]]:
    """Say where each of some texts is found, by its name: as it is, as UTF-16, or as bytes where it is hexadecimal."""
    found: dict[str, set[str]] = {name: set() for name in texts}
    forms = {
        name: [re.escape(form) for form in {text.encode(), text.encode("utf-16-le"), *_bytes_of(text)}]
        for name, text in texts.items()
    }
    patterns = {name: re.compile(b"|".join(each)) for name, each in forms.items()}
    for place, content in stores(system):
        for name, pattern in patterns.items():
            if pattern.search(content):
                found[name].add(place)
    return found


def _bytes_of(text: str) -> list[bytes]:
    return [bytes.fromhex(text)] if re.fullmatch(r"(?:[0-9a-f]{2}){12,}", text) else []


def _databases(system: System) -> Iterator[tuple[str, bytes]]:
    client = system.store.client
    for name in (each for each in client.list_database_names() if each.startswith(system.database_name)):
        for collection in client[name].list_collection_names():
            for document in client[name][collection].find():
                yield f"{name}.{collection}", encode(document)
                if collection == "packs":
                    yield f"{name}.{collection} unpacked", _flat(opened(document))


def _flat(value: Any) -> bytes:
    """Give all texts and bytes in a value, one behind the other."""
    if isinstance(value, dict):
        return b"\n".join(map(_flat, value.values()))
    if isinstance(value, list | tuple):
        return b"\n".join(map(_flat, value))
    return value if isinstance(value, bytes) else str(value).encode()


def _topics(system: System) -> Iterator[tuple[str, bytes]]:
    listed = AdminClient({"bootstrap.servers": system.stack.kafka_bootstrap_servers}).list_topics(timeout=30)
    for topic in sorted(each for each in listed.topics if each.startswith(system.topic_prefix)):
        name = topic.removeprefix(system.topic_prefix)
        for _, value in system.topic_values(name):
            yield f"topic {name}", value
