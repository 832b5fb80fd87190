"""Another key-encryption key in the place of all: what an oplog or a backup still holds opens by nothing, and what is left opens throughout."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.stack import Stack
from services.runtime.mongo import Database, Mongo
from services.runtime.settings import MongoSettings
from services.runtime.vault import People, Vault, VaultError, rotating, user_subject
from services.runtime.vault.opening import load_ring
from services.runtime.vault.people import provision
from services.runtime.vault.ring_file import RingFile, read_ring
from services.runtime.vault.rotating import WRAPPED, rotate
from tests.conftest import Names

ANN, BOB = user_subject("ann"), user_subject("bob")
OLD = b"k" * 32


class KilledError(BaseException):
    """The process ended here."""


class World:
    """A vault, its key file, and what a service that runs meanwhile has of both."""

    def __init__(self, database: Database, path: Path) -> None:
        self.database, self.path = database, path
        path.write_text(f"{OLD.hex()}\n")
        path.chmod(0o600)
        self.service = People(Vault(database, load_ring(path)))
        self.paused: list[float] = []
        self.before: dict[str, Any] = {}

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    async def rotate(self) -> int:
        return await rotate(self.database, self.path, pause=self.pause)

    async def begin(self) -> None:
        for name in ("ann", "bob"):
            self.before[name] = await self.service.person(name, self.service.vault.now_ms())

    async def opens(self, name: str) -> bool:
        """Whether who starts now, with the file as it is, has the same key and pseudonym of somebody as before."""
        people = People(Vault(self.database, load_ring(self.path)))
        now = await people.person(name, people.vault.now_ms())
        return bool((now.key, now.pseudonym) == (self.before[name].key, self.before[name].pseudonym))


@pytest.fixture
async def world(stack: Stack, names: Names, tmp_path: Path) -> AsyncIterator[World]:
    mongo = Mongo(MongoSettings(uri=stack.mongodb_uri, database=f"{names.database}_vault", timeout_ms=10_000))
    await provision(mongo.database)
    made = World(mongo.database, tmp_path / "vault-keys")
    await made.begin()
    yield made
    mongo.close()


async def test_what_an_oplog_still_holds_of_an_erased_user_opens_by_nothing_after_a_rotation(
    world: World,
) -> None:
    subject = await world.service.vault.hash_of(ANN)
    kept = await world.database["vault_keys"].find_one(
        {"_id": subject}
    )  # as `local.oplog.rs` has it, or a backup
    copies = {name: await world.database[name].find().to_list(None) for name in WRAPPED}
    assert kept is not None
    assert await world.service.vault.destroy(ANN)
    assert load_ring(world.path).unwrap(kept, subject) == world.before["ann"].key  # erased, and not yet final
    assert await world.rotate() == 3  # bob's key, the name key, a day's key
    assert world.paused == [31.0]
    ring = read_ring(world.path)
    assert OLD not in ring.keys
    assert len(ring.keys) == 1
    assert world.path.stat().st_mode & 0o777 == 0o600
    for name, documents in copies.items():
        assert documents, name
        for each in documents:
            of = each["_id"]
            with pytest.raises(VaultError):
                load_ring(world.path).unwrap(each, of.encode() if isinstance(of, str) else bytes(of))
    assert await world.opens("bob")
    assert OLD.hex() not in world.path.read_text()


async def test_services_go_on_without_a_restart(world: World) -> None:
    running = Vault(world.database, load_ring(world.path), fresh_s=0)
    assert await running.key_of(BOB, create=False) == world.before["bob"].key
    begun = asyncio.create_task(world.rotate())
    made = {f"u{n}": await running.key_of(user_subject(f"u{n}"), create=True) for n in range(40)}
    await begun
    made |= {f"v{n}": await running.key_of(user_subject(f"v{n}"), create=True) for n in range(5)}
    assert await running.key_of(BOB, create=False) == world.before["bob"].key
    after = Vault(world.database, load_ring(world.path))
    for name, key in made.items():
        assert await after.key_of(user_subject(name), create=False) == key
    await world.rotate()
    assert await running.key_of(BOB, create=False) == world.before["bob"].key


async def test_what_a_stopped_process_wrote_under_the_old_key_is_not_lost(world: World) -> None:
    stopped = Vault(world.database, read_ring(world.path))  # one that does not see the file change
    await stopped.hash_of(BOB)

    async def pause(_seconds: float) -> None:
        await stopped.key_of(user_subject("carl"), create=True)

    await rotate(world.database, world.path, pause=pause)
    after = Vault(world.database, load_ring(world.path))
    assert await after.key_of(user_subject("carl"), create=False) == await stopped.key_of(
        user_subject("carl"), create=True
    )


@pytest.mark.parametrize("step", ["before", "added", "wrapping", "pause", "wrapped", "taken away"])
async def test_a_kill_at_any_step_leaves_all_open_and_doing_it_again_does_the_rest(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, wraps = [0], [0]
    write, rewrap = rotating.write_ring, rotating.rewrap

    def writing(path: Path, keys: tuple[bytes, ...]) -> Any:
        writes[0] += 1
        if (step, writes[0]) in {("before", 1), ("wrapped", 2)}:
            raise KilledError
        made = write(path, keys)
        if (step, writes[0]) in {("added", 1), ("taken away", 2)}:
            raise KilledError
        return made

    async def wrapping(vault: Vault) -> int:
        if step == "wrapping" and not wraps[0]:
            wraps[0] = 1
            ring = vault.ring
            document = await world.database["vault_keys"].find_one({"_id": await vault.hash_of(BOB)})
            assert document is not None
            again = ring.wrap(ring.unwrap(document, document["_id"]), document["_id"], bytes(12))
            await world.database["vault_keys"].update_one({"_id": document["_id"]}, {"$set": again})
            raise KilledError  # one is wrapped under the new key, the others are not
        return await rewrap(vault)

    async def pause(_seconds: float) -> None:
        if step == "pause":
            raise KilledError

    monkeypatch.setattr(rotating, "write_ring", writing)
    monkeypatch.setattr(rotating, "rewrap", wrapping)
    with pytest.raises(KilledError):
        await rotate(world.database, world.path, pause=pause)
    monkeypatch.undo()
    assert await world.opens("ann")
    assert await world.opens("bob")
    assert await world.rotate() == 4
    assert len(read_ring(world.path).keys) == 1
    assert await world.opens("ann")
    assert OLD not in read_ring(world.path).keys


async def test_nothing_is_changed_where_something_would_be_lost(world: World) -> None:
    lost = Vault(world.database, RingFile(world.path))
    await lost.key_of(user_subject("carl"), create=True)
    await world.database["vault_keys"].update_one(
        {"_id": await lost.hash_of(user_subject("carl"))}, {"$set": {"kek": "0" * 16}}
    )
    before = world.path.read_text()
    with pytest.raises(VaultError, match="put them back"):
        await world.rotate()
    assert world.path.read_text() == before


async def test_a_file_that_many_broken_off_rotations_filled_is_emptied(world: World) -> None:
    more = "".join(f"{bytes([n] * 32).hex()}\n" for n in range(15))
    world.path.write_text(more + f"{OLD.hex()}\n")
    assert await world.rotate() == 4
    assert len(read_ring(world.path).keys) == 1
    assert await world.opens("ann")
