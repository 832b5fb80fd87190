"""Erasing on a real store: what is broken off anywhere is finished by doing it again; holds; events with their duplicates; retention."""

import hashlib
import json

import pytest

from goodstrace.entry import Kind
from services.runtime import envelope
from services.runtime.envelope import Record
from services.runtime.errors import UnavailableError
from services.runtime.mongo import Database, Mongo, beside
from services.runtime.personal_values import PersonalKey, personal_subject
from services.runtime.vault import HeldError, People, Vault, user_subject
from services.runtime.vault.personal import PersonalKeys, provision
from services.runtime.vault.wrapping import KeyRing
from services.sealing.entries import is_provable
from services.sealing.erasure.erasing import Erasing, Sealing
from services.sealing.erasure.intents import COLLECTION
from services.sealing.erasure.records import Why
from services.sealing.erasure.steps import Known
from tests.conftest import Names

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


class Producer:
    """Takes records; the next ones fail after (`lost`) or before they were taken (`failing`)."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failing, self.lost = 0, 0

    async def send(self, _topic: str, _partition: int, _key: bytes, value: bytes, _timeout_s: float) -> None:
        if self.failing:
            self.failing -= 1
            raise UnavailableError("Kafka is away")
        self.records.append(envelope.decode(value))
        if self.lost:
            self.lost -= 1
            raise UnavailableError("the acknowledgement is lost")

    def told(self) -> list[dict[str, str]]:
        return [json.loads(each.part("erasure").content) for each in self.records]


class World:
    """A vault, and an eraser with a step that can fail."""

    def __init__(self, mongo: Mongo, database: Database) -> None:
        self.mongo, self.vault_database = mongo, database
        self.vault = Vault(database, KeyRing((b"k" * 32,)), now_ms=lambda: NOW_MS)
        self.people, self.personal = People(self.vault), PersonalKeys(self.vault)
        self.producer, self.steps_failing, self.seen = Producer(), 0, list[Known]()
        self.paused: list[float] = []

    async def step(self, _database: Database, known: Known) -> int:
        if self.steps_failing:
            self.steps_failing -= 1
            raise UnavailableError("the store is away")
        self.seen.append(known)
        return 1

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def erasing(self) -> Erasing:
        sealing = Sealing(self.producer, "goods.browsed", 2, b"s" * 32)  # type: ignore[arg-type]
        return Erasing(self.mongo.database, self.people, sealing, {"step": self.step}, pause=self.pause)

    async def under_way(self) -> int:
        return await self.vault_database[COLLECTION].count_documents({})


@pytest.fixture
async def world(mongo: Mongo, names: Names) -> World:
    database = beside(mongo.database, f"{names.database}_vault")
    await provision(database)
    return World(mongo, database)


async def test_a_user_is_erased_and_the_record_names_nobody(world: World) -> None:
    key = await world.vault.key_of(user_subject("ann"), create=True)
    person = await world.people.person("ann", NOW_MS)
    report = await world.erasing().user("ann", Why.ASKED)
    assert world.paused == [31.0]
    assert await world.vault.key_of(user_subject("ann"), create=False) is None
    assert world.seen[0].pseudonyms == (person.pseudonym,)
    assert await world.people.name_of(person.pseudonym) is None
    assert report.deleted == {"step": 4, "pseudonyms": 1}
    (record,) = world.producer.records
    assert report.records == (record.id.hex(),)
    assert record.kind is Kind.ERASURE
    assert is_provable(record)
    assert world.producer.told() == [
        {"destroyed": hashlib.sha256(key or b"").hexdigest(), "reason": "asked", "scope": "user"}
    ]
    assert b"ann" not in envelope.encode(record)
    assert await world.under_way() == 0


@pytest.mark.parametrize("fault", ["steps_failing", "failing", "lost"])
async def test_what_is_broken_off_is_finished_by_doing_it_again(world: World, fault: str) -> None:
    key = await world.vault.key_of(user_subject("ann"), create=True)
    setattr(world if fault == "steps_failing" else world.producer, fault, 1)
    with pytest.raises(UnavailableError):
        await world.erasing().user("ann", Why.ASKED, settle=False)
    assert await world.under_way() == 1
    await world.erasing().user("ann", Why.ASKED, settle=False)
    assert await world.under_way() == 0
    assert await world.vault.key_of(user_subject("ann"), create=False) is None
    told = {envelope.encode(each) for each in world.producer.records}
    assert (
        len(told) == 1
    )  # where it was acknowledged without our knowing it is there twice, in the same bytes
    assert world.producer.told()[0]["destroyed"] == hashlib.sha256(key or b"").hexdigest()


async def test_a_key_that_was_made_meanwhile_goes_too(world: World) -> None:
    await world.vault.key_of(user_subject("ann"), create=True)

    async def look_under_way(_seconds: float) -> None:
        await world.vault.key_of(user_subject("ann"), create=True)

    world.pause = look_under_way  # type: ignore[method-assign, assignment]
    report = await world.erasing().user("ann", Why.ORDERED)
    assert len(set(report.records)) == 2
    assert await world.vault.key_of(user_subject("ann"), create=False) is None


async def test_who_never_looked_is_erased_without_a_record(world: World) -> None:
    report = await world.erasing().user("nobody", Why.ASKED, settle=False)
    assert (report.records, world.producer.records) == ((), [])


async def test_under_a_legal_hold_nothing_is_erased(world: World) -> None:
    await world.vault.hold(user_subject("ann"), NOW_MS + DAY_MS, "case 4711")
    keys = await _events(world)
    await world.vault.hold(personal_subject(keys[1].record_id), NOW_MS + DAY_MS, "case 4712")
    with pytest.raises(HeldError) as held:
        await world.erasing().user("ann", Why.ASKED)
    assert (held.value.until_ms, held.value.reason) == (NOW_MS + DAY_MS, "case 4711")
    with pytest.raises(HeldError) as held:
        await world.erasing().event(7, "urn:e:1", Why.ASKED)
    assert (held.value.until_ms, held.value.reason) == (NOW_MS + DAY_MS, "case 4712")
    assert (world.seen, world.producer.records, await world.under_way()) == ([], [], 0)
    assert len(await world.personal.of_records([each.record_id for each in keys])) == 3
    assert await world.erasing().older_than(NOW_MS + 1) == 2  # all but the one that is held
    await world.vault.hold(personal_subject(keys[1].record_id), 0, "")
    assert len((await world.erasing().event(7, "urn:e:1", Why.ASKED)).records) == 1


async def _events(world: World) -> list[PersonalKey]:
    """An event, its duplicate, and another one."""
    keys = [
        PersonalKey(bytes([number]) * 16, bytes([number]) * 32, 7, event, NOW_MS - number * DAY_MS)
        for number, event in ((1, "urn:e:1"), (2, "urn:e:1"), (3, "urn:e:2"))
    ]
    await world.personal.keep(keys)
    return keys


async def test_the_personal_data_of_an_event_goes_with_that_of_its_duplicates(world: World) -> None:
    keys = await _events(world)
    ids = [each.record_id for each in keys]
    assert await world.personal.of_records(ids) == {each.record_id: each.key for each in keys}
    assert (await world.erasing().event(8, "urn:e:1", Why.ASKED)).records == ()
    world.producer.failing = 1
    with pytest.raises(UnavailableError):
        await world.erasing().event(7, "urn:e:1", Why.ASKED)
    assert await world.erasing().finish() == (1, 0)
    await world.erasing().event(7, "urn:e:1", Why.ASKED)
    assert set(await world.personal.of_records(ids)) == {keys[2].record_id}
    told = sorted(world.producer.told(), key=lambda each: each["record"])
    assert [each["record"] for each in told] == [each.record_id.hex() for each in keys[:2]]
    assert [each["destroyed"] for each in told] == [hashlib.sha256(each.key).hexdigest() for each in keys[:2]]
    assert await world.under_way() == 0


async def test_retention_takes_what_is_older_and_says_so(world: World) -> None:
    keys = await _events(world)
    assert await world.erasing().older_than(NOW_MS - 2 * DAY_MS + 1) == 2
    assert set(await world.personal.of_records([each.record_id for each in keys])) == {keys[0].record_id}
    assert {each["reason"] for each in world.producer.told()} == {"retention"}
