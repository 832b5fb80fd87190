"""A store and a vault put back from copies that are older than erasures: who was erased is rid of again, and nobody else."""

import hashlib
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner

from services.backup.command import backup
from services.backup.erased import Again
from services.query.accounts.account_store import AccountStore
from services.query.accounts.stored import StoredAccount
from services.runtime.access.values import AccountKind
from services.runtime.mongo import Mongo, beside
from services.runtime.settings import MongoSettings
from services.runtime.vault import People, Vault, user_subject
from services.runtime.vault.wrapping import KeyRing
from services.sealing.erasure.steps import erase_steps
from services.sealing.erasure.tombstones import Tombstones
from tests.conftest import Names

NOW_MS = 1_800_000_000_000


class World:
    def __init__(self, mongo: Mongo, vault: Vault) -> None:
        self.database, self.vault = mongo.database, vault
        self.accounts, self.people = AccountStore(mongo.database), People(vault)
        self.again = Again(mongo.database, vault, erase_steps())

    async def user(self, name: str, made_ms: int = 1) -> str:
        """Make an account and a key; gives the key's hash, as a sealed erasure has it."""
        await self.accounts.add(
            StoredAccount(id=f"id-{name}", name=name, kind=AccountKind.USER, roles=(), created_ms=made_ms)
        )
        person = await self.people.person(name, NOW_MS)
        return hashlib.sha256(person.key).hexdigest()

    async def is_there(self, name: str) -> tuple[bool, bool]:
        """Whether there is an account, and a key."""
        key = await Vault(self.vault.database, self.vault.ring).key_of(user_subject(name), create=False)
        return await self.accounts.named(name) is not None, key is not None


@pytest.fixture
async def world(mongo_uri: str, names: Names) -> AsyncIterator[World]:
    mongo = Mongo(MongoSettings(uri=mongo_uri, database=names.database))
    ring = KeyRing((b"k" * 32,))
    vault = Vault(beside(mongo.database, f"{names.database}_vault"), ring, now_ms=lambda: NOW_MS)
    yield World(mongo, vault)
    mongo.close()


async def test_a_destroyed_key_that_came_back_goes_with_all_of_its_user(world: World) -> None:
    ann, _ = await world.user("ann"), await world.user("bob")
    applied = await world.again.apply({ann, "00" * 32})
    assert (applied.keys, applied.users) == (1, 1)
    assert await world.is_there("ann") == (False, False)
    assert await world.is_there("bob") == (True, True)
    again = await world.again.apply({ann})
    assert (again.keys, again.users, again.documents) == (0, 0, 0)


async def test_an_account_that_came_back_goes_where_the_vault_was_not_lost(world: World) -> None:
    await world.user("ann")
    subject = await world.vault.hash_of(user_subject("ann"))
    await world.vault.destroy(user_subject("ann"))
    await world.people.forget_user("ann")
    await Tombstones(world.vault.database).add(subject, NOW_MS)
    assert (await world.again.apply(set())).users == 1
    assert await world.is_there("ann") == (False, False)


async def test_somebody_new_of_the_name_stays(world: World) -> None:
    await world.user("ann", made_ms=NOW_MS + 1)
    await Tombstones(world.vault.database).add(await world.vault.hash_of(user_subject("ann")), NOW_MS)
    assert (await world.again.apply(set())).users == 0
    assert await world.is_there("ann") == (True, True)


def test_called_wrongly() -> None:
    assert CliRunner().invoke(backup, ["create"]).exit_code == 2
    assert CliRunner().invoke(backup, ["verify", "nothing"]).exit_code == 2
