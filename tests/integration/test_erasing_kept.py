"""What is kept of a user beside the looks: webhooks, queries, who looked at goods, who was asked for, alerts. Exported whole, then erased."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from goodstrace.audit.v1 import watch_pb2
from services.audit.erasing import erase_looks, erase_watched
from services.audit.exporting_kept import export_vault, export_watched
from services.audit.figures.goods import VIEWERS, forget_viewer
from services.audit.figures.goods import _row as viewer_row
from services.audit.figures.values import Look
from services.audit.watch.store import WatchStore
from services.query.webhooks.asked import NamedQuery
from services.query.webhooks.erasing import erase_webhooks, export_webhooks
from services.query.webhooks.store import WebhookStore
from services.query.webhooks.values import Locked, Progress, Sees, Webhook
from services.runtime.access.accounts import ACCOUNTS
from services.runtime.access.lasting import Credential, CredentialKind
from services.runtime.blocking import Block, Blocks
from services.runtime.mongo import Database, Mongo
from services.runtime.vault import People, Vault, open_people, user_subject
from services.runtime.vault.keys import ASKED
from services.sealing.erasure.steps import ExportStep, Known

ZOE, ANN = "zoe", "ann"
SECRET = b"the secret of a webhook"


class World:
    """The services' database and its vault, as their processes have them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.people: People = open_people(database)
        self.vault: Vault = self.people.vault

    async def known(self, name: str) -> Known:
        pseudonym = (await self.people.person(name, self.vault.now_ms())).pseudonym
        subject = await self.vault.hash_of(user_subject(name))
        return Known(name, subject, (pseudonym,), self.vault.database)

    async def exported(self, step: ExportStep, known: Known) -> list[tuple[str, Any]]:
        return [each async for each in step(self.database, known)]


@pytest.fixture
def world(mongo: Mongo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "vault-keys").write_text("6b" * 32)
    monkeypatch.setenv("GOODSTRACE_VAULT_KEY_FILE", str(tmp_path / "vault-keys"))
    return World(mongo.database)


def _webhook(name: str, user: str, owner: str) -> Webhook:
    return Webhook(
        name,
        "q",
        {"EQ_bizStep": ["shipping"]},
        "https://x.example/",
        Locked(SECRET),
        user,
        7,
        Progress({}),
        owner,
    )


async def test_a_users_webhooks_go_and_a_merchants_go_on_without_the_name(world: World) -> None:
    store, zoe = WebhookStore(world.database), await world.known(ZOE)
    for name, user, owner in (
        ("own", ZOE, ZOE),
        ("works", ZOE, "merchant:7"),
        ("old", ZOE, ""),
        ("other", ANN, ANN),
    ):
        await store.add_query(NamedQuery(name, {"EQ_bizStep": ["shipping"]}), user, owner, 7)
        await store.add(_webhook(name * 4, user, owner))
    exported = await world.exported(export_webhooks, zoe)
    assert [kind for kind, _ in exported] == ["query"] * 3 + ["subscription"] * 3
    assert {value["id"] for _, value in exported} == {
        "own",
        "works",
        "old",
        "own" * 4,
        "works" * 4,
        "old" * 4,
    }
    assert SECRET not in repr(exported).encode()
    assert await erase_webhooks(world.database, zoe) == 6
    assert await erase_webhooks(world.database, zoe) == 0
    left = {each.id: each.user for each in await store.all(10)}
    assert left == {"works" * 4: "merchant:7", "old" * 4: "unknown", "other" * 4: ANN}
    assert {each.name for each in await store.queries(10)} == {"works", "old", "other"}
    assert await world.exported(export_webhooks, zoe) == []
    assert await world.database["epcis_queries"].find_one({"user": ZOE}) is None


async def test_what_saw_by_an_erased_account_sees_no_more_and_a_programs_goes_on(world: World) -> None:
    store = WebhookStore(world.database)
    for name, user in (("hers", ZOE), ("for her", f"shop/{ZOE}")):
        maker = Credential(CredentialKind.ACCOUNT, name)
        made = _webhook(name, user, "merchant:7")
        await store.add(msgspec.structs.replace(made, sees=Sees.OWNER, maker=maker))
    for user in (ZOE, f"shop/{ZOE}"):
        assert await erase_webhooks(world.database, await world.known(user)) == 1
    left = {each.id: (each.user, each.sees, each.maker) for each in await store.all(10)}
    assert left == {
        "hers": ("merchant:7", Sees.OWNER, None),
        "for her": ("merchant:7", Sees.OWNER, Credential(CredentialKind.ACCOUNT, "for her")),
    }


async def test_a_merchant_is_no_user_whose_webhooks_go(world: World) -> None:
    store = WebhookStore(world.database)
    await store.add(_webhook("works", "merchant:7", "merchant:7"))
    assert await erase_webhooks(world.database, await world.known("merchant:7")) == 0
    assert len(await store.all(10)) == 1


async def test_who_looked_at_goods_on_a_day_that_is_not_over_goes(world: World) -> None:
    zoe, ann = await world.known(ZOE), await world.known(ANN)
    rows = world.vault.database[VIEWERS]
    for known in (zoe, ann):
        look = Look(
            offset=1, time_ms=world.vault.now_ms(), kind="look", user=known.pseudonyms[0], role="shopper"
        )
        await rows.insert_many([viewer_row(look, merchant, "shipping") for merchant in (7, 8)])
    viewed = [value for kind, value in await world.exported(export_vault, zoe) if kind == "viewed"]
    assert {each["merchant"] for each in viewed} == {7, 8}
    assert set(viewed[0]) == {"day", "merchant", "role", "step"}
    assert await forget_viewer(world.vault.database, zoe.pseudonyms) == 2
    assert await forget_viewer(world.vault.database, zoe.pseudonyms) == 0
    assert await rows.count_documents({}) == 2


async def test_who_was_asked_for_is_named_by_an_own_key_that_strangers_share(world: World) -> None:
    zoe = await world.known(ZOE)
    await world.database[ACCOUNTS].insert_one({"_id": "1", "name": "new"})
    key = await world.vault.key_of(user_subject(ZOE), create=False)
    assert await world.people.asked(ZOE, b"1" * 16) == key
    own = await world.people.asked("new", b"2" * 16)  # an account that never looked
    assert own == await world.vault.key_of(user_subject("new"), create=False)
    shared = await world.vault.key_of(user_subject("unknown"), create=True)
    for number, name in ((3, "a stranger"), (4, "anonymous"), (5, "unknown")):
        assert await world.people.asked(name, bytes([number]) * 16) == shared
    assert await world.vault.key_of(user_subject("a stranger"), create=False) is None
    found = await world.vault.asked_of([b"1" * 16, b"2" * 16, bytes([3]) * 16, b"9" * 16])
    assert found == {b"1" * 16: key, b"2" * 16: own, bytes([3]) * 16: shared}
    assert ("asked", {"record": b"1".hex() * 16}) in await world.exported(export_vault, zoe)
    await world.vault.destroy(user_subject(ZOE))
    assert set(await world.vault.asked_of([b"1" * 16, b"2" * 16])) == {b"2" * 16}
    assert await erase_looks(world.database, zoe) == 1
    assert await world.vault.database[ASKED].find_one({"subject": zoe.subject}) is None


async def test_what_the_watch_and_the_vault_keep_is_exported_and_goes(world: World) -> None:
    zoe, now_ms = await world.known(ZOE), world.vault.now_ms()
    alert = watch_pb2.Alert(id="a1", rule="scraping", about="user", subject=zoe.pseudonyms[0], end_ms=now_ms)
    alert.blocked_until_ms = now_ms + 3_600_000
    store = WatchStore(world.database, keep_days=2, user_days=2)
    assert await store.put_alert(alert, alert.SerializeToString())
    await Blocks(world.database).put(Block(f"user:{ZOE}", now_ms + 3_600_000, reason="asked"))
    await world.vault.hold(user_subject(ZOE), now_ms + 3_600_000, "case 4711")
    watched = await world.exported(export_watched, zoe)
    assert [kind for kind, _ in watched] == ["alert", "block", "block"]
    assert watched[0][1]["rule"] == "scraping"
    assert {each["subject"] for _, each in watched[1:]} == {f"user:{ZOE}", f"pseudonym:{zoe.pseudonyms[0]}"}
    kept = await world.exported(export_vault, zoe)
    assert kept[0] == ("hold", {"until_ms": now_ms + 3_600_000, "reason": "case 4711"})
    assert ("pseudonym", {"pseudonym": zoe.pseudonyms[0], "day": kept[1][1]["day"]}) in kept
    assert await erase_watched(world.database, zoe) == 3
    assert await world.exported(export_watched, zoe) == []
