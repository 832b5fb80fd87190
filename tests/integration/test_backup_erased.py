"""A store and a vault put back from copies that are older than erasures: who was erased is rid of again, and nobody else."""

import asyncio
import contextlib
import hashlib
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition

from goodstrace.block import KafkaRange
from goodstrace.registration import merchant_key
from services.backup import creating, groups, ready
from services.backup.command import backup
from services.backup.erased import Again
from services.backup.errors import BackupError
from services.backup.folder import FolderWriter
from services.backup.registered import register_again
from services.backup.same_kafka import check_topics
from services.backup.values import FileEntry, GroupOffsets, LogCopy
from services.collector.flow import to_wire
from services.collector.registry import registrations
from services.collector.registry.registrations import Registration
from services.collector.registry.store import RegistryStore
from services.erasure.steps import ERASE_STEPS
from services.query.accounts.account_store import AccountStore
from services.query.accounts.stored import StoredAccount
from services.runtime import consumer_groups, kafka, topics
from services.runtime.access.values import AccountKind
from services.runtime.errors import UnavailableError
from services.runtime.merchants.values import Merchant, What, plain
from services.runtime.mongo import Mongo, beside
from services.runtime.settings import KafkaSettings
from services.runtime.vault import People, Vault, user_subject
from services.runtime.vault.people import PSEUDONYMS
from services.runtime.vault.wrapping import KeyRing
from services.sealing.erasure.tombstones import Tombstones
from tests.conftest import Names
from tests.integration.looking import eventually

NOW_MS = 1_800_000_000_000


class World:
    def __init__(self, mongo: Mongo, vault: Vault) -> None:
        self.database, self.vault = mongo.database, vault
        self.accounts, self.people = AccountStore(mongo.database), People(vault)
        self.again = Again(mongo.database, vault, ERASE_STEPS)

    async def user(self, name: str, made_ms: int = 1) -> bytes:
        """Make an account and a key; gives the key's hash, as a sealed erasure has it."""
        await self.accounts.add(
            StoredAccount(id=f"id-{name}", name=name, kind=AccountKind.USER, roles=(), created_ms=made_ms)
        )
        person = await self.people.person(name, NOW_MS)
        return hashlib.sha256(person.key).digest()

    async def is_there(self, name: str) -> tuple[bool, bool]:
        """Whether there is an account, and a key."""
        key = await Vault(self.vault.database, self.vault.ring).key_of(user_subject(name), create=False)
        return await self.accounts.named(name) is not None, key is not None


@pytest.fixture
def world(mongo: Mongo, names: Names) -> World:
    ring = KeyRing((b"k" * 32,))
    vault = Vault(beside(mongo.database, f"{names.database}_vault"), ring, now_ms=lambda: NOW_MS)
    return World(mongo, vault)


async def test_a_destroyed_key_that_came_back_goes_with_all_of_its_user(world: World) -> None:
    ann, _ = await world.user("ann"), await world.user("bob")
    applied = await world.again.apply({ann: NOW_MS - 5, bytes(32): NOW_MS})
    assert (applied.keys, applied.users) == (1, 1)
    assert await world.is_there("ann") == (False, False)
    assert await world.is_there("bob") == (True, True)
    subject = await world.vault.hash_of(user_subject("ann"))
    assert await Tombstones(world.vault.database).all() == {subject: NOW_MS - 5}
    again = await world.again.apply({ann: NOW_MS - 5})
    assert (again.keys, again.users, again.documents) == (0, 0, 0)


async def test_an_account_that_came_back_goes_where_the_vault_was_not_lost(world: World) -> None:
    await world.user("ann")
    subject = await world.vault.hash_of(user_subject("ann"))
    await world.vault.destroy(user_subject("ann"))
    await world.people.forget_user("ann")
    await Tombstones(world.vault.database).add(subject, NOW_MS)
    assert (await world.again.apply({})).users == 1
    assert await world.is_there("ann") == (False, False)


async def test_somebody_new_of_the_name_stays(world: World) -> None:
    await world.user("ann", made_ms=NOW_MS + 1)
    await Tombstones(world.vault.database).add(await world.vault.hash_of(user_subject("ann")), NOW_MS)
    assert (await world.again.apply({})).users == 0
    assert await world.is_there("ann") == (True, True)


async def test_somebody_new_since_a_key_was_destroyed_stays(world: World) -> None:
    old = await world.user("ann", made_ms=NOW_MS - 5)
    assert (await world.again.apply({old: NOW_MS - 10})).keys == 1
    assert await world.is_there("ann") == (True, False), "the account was made after the erasure"


async def test_what_the_vault_has_of_somebody_new_stays_where_the_copy_has_the_old_account(
    world: World,
) -> None:
    await world.user("ann")
    subject = await world.vault.hash_of(user_subject("ann"))
    await Tombstones(world.vault.database).add(subject, NOW_MS)
    looks = world.vault.database["browse_index"]
    await looks.insert_one({"_id": b"r" * 16, "subject": subject})
    known = await world.vault.database[PSEUDONYMS].count_documents({"subject": subject})
    assert known
    assert (await world.again.apply({})).users == 1
    assert await world.is_there("ann") == (False, True)
    assert await looks.count_documents({"subject": subject}) == 1
    assert await world.vault.database[PSEUDONYMS].count_documents({"subject": subject}) == known


async def test_what_is_no_user_leaves_no_tombstone(world: World) -> None:
    key = await world.vault.key_of("personal:1", create=True)
    assert key is not None
    assert (await world.again.apply({hashlib.sha256(key).digest(): NOW_MS})).keys == 1
    assert await Tombstones(world.vault.database).all() == {}


async def test_tombstones_are_copied_last(world: World, tmp_path: Path) -> None:
    await world.user("ann")
    await Tombstones(world.vault.database).add(b"s" * 32, NOW_MS)
    await world.vault.database["zebras"].insert_one({"_id": 1})
    writer = FolderWriter(tmp_path / "copy")
    manifest = await creating.copy_vault(world.vault.database, "00", writer, 1, [])
    assert manifest.collections[-1].path == "collections/tombstones.bson"


async def test_all_is_checked_before_anything_is_written(world: World, tmp_path: Path) -> None:
    await world.user("ann")
    empty = beside(world.database, f"{world.database.name}-2")
    other = KeyRing((b"o" * 32,))
    await ready.check_databases(empty, world.vault.database, None, world.vault.ring)
    with pytest.raises(BackupError, match="does not open"):
        await ready.check_databases(empty, world.vault.database, None, other)
    with pytest.raises(BackupError, match="holds other data"):
        await ready.check_databases(world.database, world.vault.database, None, world.vault.ring)
    writer = FolderWriter(tmp_path / "copy")
    manifest = await creating.copy_vault(world.vault.database, "00", writer, 1, [])
    writer.finish(manifest)
    copy = (tmp_path / "copy", manifest)
    with pytest.raises(BackupError, match="holds other data"):
        await ready.check_databases(empty, world.vault.database, copy, world.vault.ring)
    with pytest.raises(BackupError, match="does not open"):
        await ready.check_databases(empty, beside(world.database, f"{empty.name}_vault"), copy, other)


async def test_numbers_of_merchants_who_registered_after_the_copy_are_taken(
    world: World, kafka_bootstrap: str, names: Names
) -> None:
    declared = [
        each for each in topics.declared(names.topic_prefix, 2, 1, 1) if each.name.endswith("goods.collected")
    ]
    topic = names.topic(topics.GOODS_COLLECTED)
    await asyncio.to_thread(kafka.create_topics, kafka_bootstrap, declared)
    store = RegistryStore(world.database)
    assert await store.reserve_number() == 1
    producer = kafka.producer(kafka_bootstrap)
    for number in (2, 3):
        wanted = Registration(What.MERCHANT, merchant_key(number), number, plain(Merchant(name=f"m{number}")))
        item = registrations.item_of(wanted, NOW_MS, os.urandom)
        producer.produce(topic, to_wire(item), partition=number % 2)
    assert await asyncio.to_thread(producer.flush, 30) == 0
    count = await register_again(world.database, kafka_bootstrap, topic, int(time.time() * 1000))
    assert count == 2
    assert [number async for number, _ in store.merchants()] == [2, 3]
    assert await store.reserve_number() == 4


async def test_groups_are_set_back_and_it_is_told_what_kafka_has_forgotten(
    kafka_bootstrap: str, names: Names
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=names.topic_prefix)
    declared = [
        each for each in topics.declared(names.topic_prefix, 1, 1, 1) if each.name.endswith("browse.watched")
    ]
    await asyncio.to_thread(kafka.create_topics, kafka_bootstrap, declared)
    topic, group = declared[0].name, f"{declared[0].name}.index"
    producer = kafka.producer(kafka_bootstrap)
    for _ in range(6):
        producer.produce(topic, b"x", partition=0)
    assert await asyncio.to_thread(producer.flush, 30) == 0
    admin = kafka.admin_client(kafka_bootstrap)
    await asyncio.to_thread(consumer_groups.set_back, admin, group, {(topic, 0): 6}, 20.0)
    noted = await asyncio.to_thread(groups.positions, settings, groups.LOOKS)
    assert noted == [GroupOffsets(group, [(topic, 0, 6)])]
    wanted = {group: {(topic, 0): 2}}
    assert await asyncio.to_thread(groups.set_back, settings, wanted) == groups.SetBack(1)
    for future in admin.delete_records([TopicPartition(topic, 0, 4)]).values():
        await asyncio.to_thread(future.result, 30)
    told = await asyncio.to_thread(groups.set_back, settings, wanted)
    assert told == groups.SetBack(1, ((topic, 0),))
    assert await asyncio.to_thread(consumer_groups.committed, admin, group, 20.0) == {(topic, 0): 2}


async def test_a_kafka_made_anew_is_not_taken_for_the_right_one(kafka_bootstrap: str, names: Names) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=names.topic_prefix)
    with pytest.raises(BackupError, match=r"has no topic .*KAFKA_BOOTSTRAP_SERVERS"):
        await asyncio.to_thread(check_topics, settings, [])
    declared = topics.declared(names.topic_prefix, 1, 1, 1)
    await asyncio.to_thread(kafka.create_topics, kafka_bootstrap, declared)

    async def is_well() -> bool:  # a topic that was just made may have no leader for a second
        with contextlib.suppress(UnavailableError):
            await asyncio.to_thread(check_topics, settings, [])
            return True
        return False

    await eventually(is_well, "the topics have leaders")
    topic = names.topic(topics.GOODS_STORED)
    cluster, topic_id = await asyncio.to_thread(kafka.cluster_and_topic_id, kafka_bootstrap, topic)
    producer = kafka.producer(kafka_bootstrap)
    producer.produce(topic, b"x", partition=0)
    assert await asyncio.to_thread(producer.flush, 30) == 0
    for log, of, next_offset, said in (
        ("goods/0", topic_id, 1, None),
        ("goods/0", topic_id, 2, "holds it up to 1 only"),
        ("goods/0", "of-before", 1, "sealed from another"),
        ("goods.v2/0", "of-before", 1, None),  # nothing is read from topics of stages that were run again
    ):
        said_there = KafkaRange(cluster, 0, next_offset, 0, topic, of)
        copy = LogCopy(log, 1, 0, "", "", said_there, FileEntry("", 0, 0, ""))
        with pytest.raises(BackupError, match=said) if said else contextlib.nullcontext():
            await asyncio.to_thread(check_topics, settings, [copy])


def test_called_wrongly() -> None:
    assert CliRunner().invoke(backup, ["create"]).exit_code == 2
    assert CliRunner().invoke(backup, ["verify", "nothing"]).exit_code == 2
