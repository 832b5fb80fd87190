"""Making what the services find there: `python -m services.runtime.provision`. May be repeated at any time.

Makes the Kafka topics, the index secret, the operator token, the vault's key-encryption key and then, by every step that a package registered under the entry points
`goodstrace.provision`, indexes and the like. Waits until Kafka and MongoDB are up.
"""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime import kafka, topics
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.mongo import Database, Mongo
from services.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MongoSettings,
    OperatorSettings,
    load,
    load_secret,
)
from services.runtime.vault.opening import load_ring
from services.runtime.vault.settings import VaultSettings

GROUP: Final = "goodstrace.provision"
SECRET_BYTES: Final = 32
RETRY_S: Final = 0.5

Step = Callable[[Database], Awaitable[str]]
"""A registered step: makes its part in the database and says in one line what is there now. May be repeated."""


class ProvisionSettings(BaseSettings):
    """How long to wait for Kafka and MongoDB."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_PROVISION_")

    timeout_s: float = Field(60, gt=0, le=3600)


def make_secret(path: Path, *, check: Callable[[Path], object] = load_secret) -> bool:
    """Make a secret of 32 random bytes as hex, mode 600 in a folder of mode 700; False where it is there already, and `check` reads it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        check(path)
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(SECRET_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return True


def make_topics(settings: KafkaSettings) -> str:
    """Make the topics that are not there. Raises: ConflictError, UnavailableError."""
    declared = topics.declared(
        settings.topic_prefix, settings.partitions, settings.browse_partitions, settings.replication
    )
    made = kafka.create_topics(settings.bootstrap_servers, declared, timeout_s=10)
    return f"topics: {len(declared)} ({len(made)} made now)"


def steps() -> list[Step]:
    """Load the registered steps, by name."""
    return [entry.load() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]


async def provision() -> None:
    """Make everything, in order. Raises: ServiceError, where something is in the way or did not come up in time."""
    settings, kafka_settings, logs = load(ProvisionSettings), load(KafkaSettings), load(LogSettings)
    deadline_s = time.monotonic() + settings.timeout_s
    registered = steps()
    if not registered:
        raise ServiceError("no steps are registered: install the package first (`make install`)")
    made = make_secret(logs.index_secret_file)
    _say(f"index secret: {logs.index_secret_file} ({'made now' if made else 'was there'})")
    token_file = load(OperatorSettings).operator_token_file
    made = make_secret(token_file)
    _say(f"operator token: {token_file} ({'made now' if made else 'was there'})")
    key_file = load(VaultSettings).key_file
    made = make_secret(key_file, check=load_ring)
    _say(f"vault keys: {key_file} ({'made now' if made else 'was there'})")
    _say(await _within(deadline_s, lambda: asyncio.to_thread(make_topics, kafka_settings)))
    mongo = Mongo(load(MongoSettings))
    try:
        await _within(deadline_s, mongo.ping)
        for step in registered:
            _say(await _within(deadline_s, lambda step=step: step(mongo.database)))  # type: ignore[misc]
    finally:
        mongo.close()


async def _within(deadline_s: float, call: Callable[[], Awaitable[str | None]]) -> str:
    said = ""
    while True:
        try:
            return await call() or ""
        except UnavailableError as error:
            if time.monotonic() + RETRY_S > deadline_s:
                raise
            if str(error) != said:
                said = str(error)
                _say(f"waiting: {said}")
        await asyncio.sleep(RETRY_S)


def _say(line: str) -> None:
    sys.stdout.write(f"provision: {line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run; exit with 1 and the reason where it cannot be done."""
    try:
        asyncio.run(provision())
    except ServiceError as error:
        sys.stderr.write(f"provision: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
