"""The vault on a real store: keys made once, wrapped, destroyed, held; pseudonyms of a day; another key-encryption key."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.query.accounts.new_names import NewNames, looks_in
from services.runtime.access.naming import NOBODIES
from services.runtime.call_errors import AlreadyExistsError
from services.runtime.mongo import Database, Mongo, beside
from services.runtime.vault import HeldError, People, Vault, VaultError, user_subject
from services.runtime.vault.opening import load_ring
from services.runtime.vault.people import provision
from services.runtime.vault.rotating import rewrap
from services.runtime.vault.settings import VaultSettings
from services.runtime.vault.wrapping import KeyRing
from tests.conftest import Names

ANN, BOB = user_subject("ann"), user_subject("bob")
DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2  # in 2024
RING = KeyRing((b"k" * 32,))
Made = Callable[..., Vault]


@pytest.fixture
async def database(mongo: Mongo, names: Names) -> Database:
    made = beside(mongo.database, VaultSettings().database_beside(names.database))
    assert made.name == f"{names.database}_vault"
    await provision(made)
    return made


@pytest.fixture
def vault(database: Database) -> Made:
    """Give the vault as another process sees it."""

    def made(**changes: Any) -> Vault:
        return Vault(database, **{"ring": RING, "now_ms": lambda: NOON_MS, **changes})

    return made


async def _all(database: Database) -> list[dict[str, Any]]:
    return [
        document
        for name in await database.list_collection_names()
        for document in await database[name].find().to_list(None)
    ]


async def test_a_key_is_made_once_by_however_many_processes(vault: Made) -> None:
    assert await vault().key_of(ANN, create=False) is None
    processes = [vault() for _ in range(8)]
    keys = await asyncio.gather(*(each.key_of(ANN, create=True) for each in processes for _ in range(4)))
    assert len(set(keys)) == 1
    assert len(keys[0] or b"") == 32
    assert await vault().key_of(ANN, create=False) == keys[0]
    assert await vault().key_of(BOB, create=True) != keys[0]
    assert len({await each.hash_of(ANN) for each in processes}) == 1


async def test_a_destroyed_key_is_gone_at_once_here_and_within_its_time_elsewhere(vault: Made) -> None:
    clock = {"s": 0.0}
    here, elsewhere = vault(), vault(clock_s=lambda: clock["s"], fresh_s=10_000)
    key = await here.key_of(ANN, create=True)
    assert await elsewhere.key_of(ANN, create=False) == key
    assert await here.destroy(ANN)
    assert await here.key_of(ANN, create=False) is None
    assert await elsewhere.key_of(ANN, create=False) == key
    clock["s"] = 30.1  # no more than 30 s, whatever was asked for
    assert await elsewhere.key_of(ANN, create=False) is None
    assert not await here.destroy(ANN)
    again = await here.key_of(ANN, create=True)
    assert again != key


async def test_a_name_is_free_again_once_its_user_is_erased(vault: Made) -> None:
    here = vault()
    names = NewNames("id.shop.example", looks_in(here))
    await names.check("ann")
    await here.found(ANN)
    with pytest.raises(AlreadyExistsError):
        await names.check("ann")
    await names.check("bob")
    await here.destroy(ANN)
    await names.check("ann")


async def test_nothing_in_the_vault_says_a_name_or_a_key(vault: Made, database: Database) -> None:
    people = People(vault())
    person = await people.person("ann", NOON_MS)
    await people.vault.hold(ANN, NOON_MS + 1, "the case of ann against the shop")
    held = repr(await _all(database)).encode()
    assert b"ann" not in held
    assert b"case" not in held
    raw = b"".join(value for each in await _all(database) for value in each.values() if type(value) is bytes)
    assert person.key not in raw
    assert b"k" * 32 not in raw
    other = KeyRing((b"o" * 32,))
    with pytest.raises(VaultError, match="GOODSTRACE_VAULT_KEY_FILE"):
        await vault(ring=other).key_of(ANN, create=False)


async def test_a_key_that_was_put_under_another_name_does_not_open(vault: Made, database: Database) -> None:
    made = vault()
    await made.key_of(ANN, create=True)
    document = await database["vault_keys"].find_one({"_id": await made.hash_of(ANN)})
    await database["vault_keys"].insert_one({**(document or {}), "_id": await made.hash_of(BOB)})
    with pytest.raises(VaultError):
        await made.key_of(BOB, create=False)


async def test_a_held_key_is_not_destroyed_before_its_time(vault: Made) -> None:
    now = {"ms": NOON_MS}
    made = vault(now_ms=lambda: now["ms"])
    assert await made.held(ANN) is None
    await made.hold(ANN, NOON_MS + 1000, "case 12")
    assert await made.held(ANN) == (NOON_MS + 1000, "case 12")
    with pytest.raises(HeldError) as raised:
        await made.destroy(ANN)
    assert raised.value.until_ms == NOON_MS + 1000
    assert await made.key_of(ANN, create=False)
    await made.hold(ANN, NOON_MS + 5000, "case 12 goes on")
    now["ms"] = NOON_MS + 1000
    with pytest.raises(HeldError):
        await made.destroy(ANN)
    await made.hold(ANN, 0, "")
    assert await made.held(ANN) is None
    assert await made.destroy(ANN)


async def subject_of(people: People, pseudonym: str) -> bytes | None:
    return (await people.subjects_of([pseudonym])).get(pseudonym)


async def test_a_pseudonym_is_the_same_for_a_day_and_for_all_processes(vault: Made) -> None:
    one, other = People(vault()), People(vault())
    ann = await one.person("ann", NOON_MS)
    assert (ann.first_seen, len(ann.pseudonym)) == (True, 24)
    again = await asyncio.gather(
        one.person("ann", NOON_MS + DAY_MS // 2 - 1), other.person("ann", NOON_MS - DAY_MS // 2)
    )
    assert {(each.pseudonym, each.first_seen) for each in again} == {(ann.pseudonym, False)}
    assert (await one.person("ann", NOON_MS + DAY_MS // 2)).pseudonym != ann.pseudonym
    assert (await one.person("bob", NOON_MS)).pseudonym != ann.pseudonym
    assert await other.name_of(ann.pseudonym) == "ann"
    assert await subject_of(other, ann.pseudonym) == await one.vault.hash_of(ANN)
    assert await other.pseudonym("ann", NOON_MS) == ann.pseudonym
    assert await other.name_of("0" * 24) is None
    assert await subject_of(other, "0" * 24) is None


async def test_those_who_are_nobody_are_called_so(vault: Made, database: Database) -> None:
    people = People(vault())
    for name in NOBODIES:
        person = await people.person(name, NOON_MS)
        assert person.pseudonym == name == await people.name_of(name)
        assert await subject_of(people, name) == await people.vault.hash_of(user_subject(name))
    assert await database["pseudonyms"].count_documents({}) == 0


async def test_pseudonyms_go_with_their_user_and_with_their_day(vault: Made, database: Database) -> None:
    now = {"ms": NOON_MS}
    people = People(vault(now_ms=lambda: now["ms"]), retention_days=2)
    ann, bob = await people.person("ann", NOON_MS), await people.person("bob", NOON_MS)
    await people.vault.destroy(ANN)
    assert await people.name_of(ann.pseudonym) is None  # though it is still there
    assert await people.forget_user("ann") == 1
    assert await subject_of(people, ann.pseudonym) is None
    assert await people.name_of(bob.pseudonym) == "bob"

    now["ms"] = NOON_MS + 2 * DAY_MS
    assert await people.forget_days() == 0
    now["ms"] = NOON_MS + 3 * DAY_MS
    assert await people.forget_days() == 1
    assert await database["vault_days"].count_documents({}) == 0
    assert await people.vault.key_of(BOB, create=False)


async def test_another_key_encryption_key_takes_over(vault: Made, database: Database, tmp_path: Path) -> None:
    people = People(vault())
    ann = await people.person("ann", NOON_MS)
    old, new = b"k" * 32, os.urandom(32)
    file = tmp_path / "vault-keys"
    file.write_text(f"{new.hex()}\n{old.hex()}\n")
    both = load_ring(file)
    assert await vault(ring=both).key_of(ANN, create=False) == ann.key
    assert await rewrap(vault(ring=both)) == 3  # a user's key, the name key, a day's key
    assert await rewrap(vault(ring=both)) == 0
    after = People(vault(ring=KeyRing((new,))))
    assert (await after.person("ann", NOON_MS)) == type(ann)(ann.key, ann.pseudonym, first_seen=False)
    assert await after.name_of(ann.pseudonym) == "ann"
    with pytest.raises(VaultError):
        await vault().key_of(ANN, create=False)
    assert new not in repr(await _all(database)).encode()


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "00" * 31, "\n".join(["00" * 32] * 17)])
def test_a_file_without_proper_keys_ends_the_process(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(SystemExit) as raised:
        load_ring(tmp_path / "keys")
    assert raised.value.code == 2
    assert "vault" in capsys.readouterr().err
