"""Forgetting: after a user and an event's personal data were erased no store knows them, every proof holds, and guesses fail."""

import asyncio
import contextlib
import hashlib
import hmac
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from deploy.credentials import FILE
from deploy.stack import Stack
from goodstrace import encrypted_parts
from goodstrace import entry as entries
from goodstrace.accounts import AccountsClient
from goodstrace.client import Client
from goodstrace.credentials import local_user
from goodstrace.encrypted_parts import is_encrypted, record_key
from goodstrace.entry import Kind
from goodstrace.errors import CallError, EncryptedPartError
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys
from goodstrace.login import LoginClient
from goodstrace.receipts import Receipt
from goodstrace.token_sources import FixedToken
from goodstrace.verification import verify_checkpoints, verify_entry
from services.runtime.mongo import Mongo
from services.runtime.personal_values import personal_subject
from services.runtime.settings import MongoSettings
from services.runtime.vault import Vault, user_subject
from services.runtime.vault.opening import load_ring
from tests.browse_campaign import watch_of
from tests.erasure_search import SHORT, places, stores
from tests.system.harness import Sealed, System, eventually
from tests.unit.collector_builders import document, object_event

NAME = "zoe.forgetme"
PURPOSE = "for Zoe Forgetmenot's own file"
EVENT_ID = "urn:uuid:99999999-2222-4333-8444-555555555555"
ITEM = "https://id.gs1.org/01/10614141073464/21/2017"
VALUES = {
    "consumer": "Zoe Forgetmenot",
    "mail": "zoe@forgetme.example",
    "street": "Vergissmeinnichtweg 17",
    "order": "consumer-order:771-332",
}
PERSONAL: dict[str, Any] = {
    "ex:consumerName": VALUES["consumer"],
    "ex:contact": f"write to {VALUES['mail']}",
    "ex:delivery": {"ex:streetAddress": VALUES["street"], "ex:door": 3},
    "bizTransactionList": [{"type": "po", "bizTransaction": f"urn:example:{VALUES['order']}"}],
}
PASSWORD = "a long word that nobody guesses 7"


@dataclass
class World:
    """The system before the erasing, and what it knew."""

    system: System
    token: str
    receipts: list[Receipt]
    known: dict[str, str]
    before: dict[str, set[str]]
    exported: dict[str, Any] = field(default_factory=dict)
    clear: dict[tuple[str, str], bytes] = field(default_factory=dict)


def _account(system: System) -> str:
    """Make the user, and sign in."""
    operator = system.operator_token_file.read_text().strip()
    with AccountsClient(system.query_target, FixedToken(operator)) as accounts:
        _, made = accounts.add(NAME, ["shopper"])
    with LoginClient(system.query_target) as login:
        session = login.sign_in(NAME, made)
    with LoginClient(system.query_target, FixedToken(session.access_token)) as login:
        return login.change_password(made, PASSWORD).issued.token


def _client(system: System, token: str, receipts: list[Receipt] | None = None) -> Client:
    return Client(
        system.query_target,
        LogKeys.load(system.key_dir),
        purpose=PURPOSE,
        audit_target=system.audit_target,
        token=token,
        on_receipt=(receipts if receipts is not None else []).append,
    )


def _auditor(system: System) -> str:
    user = local_user(system.run_dir / FILE, system.query_target, "auditor")
    assert user is not None
    with LoginClient(system.query_target) as login:
        return login.sign_in(*user).access_token


def _ok(done: Any) -> str:
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def world(stack: Stack, systems: Callable[..., System]) -> Iterator[World]:
    system = systems(stack, GOODSTRACE_ACCOUNTS="required").start()
    watch = watch_of(system)
    watch.start()
    try:
        token = _account(system)
        receipts: list[Receipt] = []
        system.capture_sealed([document(object_event(eventID=EVENT_ID, **PERSONAL))])
        system.capture([document(object_event(eventID=EVENT_ID, **PERSONAL | {"ex:consumerName": "Zoe F."}))])
        with _client(system, token, receipts) as client:
            for _ in range(5):
                client.trace(ITEM)
        vault = system.store.client[f"{system.database_name}_vault"]
        eventually(lambda: vault["browse_index"].count_documents({"method": "Trace"}) >= 5, what="the index")
        eventually(lambda: "topic browse.counted" in dict(stores(system)), what="the watch has counted")
        account = system.store["accounts"].find_one({"name": NAME})
        assert account is not None
        sessions = [str(each["_id"]) for each in system.store["sessions"].find({"account": account["_id"]})]
        known = {**VALUES, "name": NAME, "purpose": PURPOSE, "account": str(account["_id"])}
        known |= {f"session {number}": each for number, each in enumerate(sessions)}
        yield World(system, token, receipts, known, places(system, known))
    finally:
        watch.stop()


@pytest.fixture(scope="module")
def erased(world: World) -> World:
    """Export, hold, lift, and erase: the user and the event."""
    system = world.system
    world.clear |= _opened(system, [*system.sealed("browse/"), *system.sealed("goods/")])
    out = system.run_dir / "keys" / "export.json"
    _ok(system.cli("audit", "export", "user", NAME, "--out", str(out)))
    world.exported = json.loads(out.read_bytes())
    assert out.stat().st_mode & 0o777 == 0o600
    out.unlink()
    for what in (("user", NAME), ("event", EVENT_ID, "--merchant", "1")):
        _ok(system.cli("audit", "hold", *what, "--until", "2099-01-01", "--reason", "case 4711"))
        refused = system.cli("audit", "erase", *what)
        assert refused.returncode == 1
        assert "a legal hold is on it until 2099-01-02T00:00+00:00: case 4711" in refused.stderr
        _ok(system.cli("audit", "hold", *what, "--until", "2020-01-01"))
    subject = _asked(system, lambda vault: vault.hash_of(user_subject(NAME)))
    rows = system.store.client[f"{system.database_name}_vault"]["pseudonyms"]
    pseudonyms = rows.distinct("_id", {"subject": subject})
    assert pseudonyms
    world.known |= {f"pseudonym {number}": str(each) for number, each in enumerate(pseudonyms)}
    told = json.loads(_ok(system.cli("audit", "erase", "user", NAME, "--no-settle", "--json")))
    assert told["deleted"]["accounts"] >= 2
    assert told["deleted"]["looks"] >= 5
    assert len(told["records"]) == 1
    told = json.loads(_ok(system.cli("audit", "erase", "event", EVENT_ID, "--merchant", "1", "--json")))
    assert len(told["records"]) == 2  # the sealed one, and the duplicate that was refused
    return world


T = TypeVar("T")


def _asked(system: System, ask: Callable[[Vault], Awaitable[T]]) -> T:
    """Ask the vault, as its operator could."""

    async def read() -> T:
        mongo = Mongo(
            MongoSettings(
                uri=system.stack.mongodb_uri, database=f"{system.database_name}_vault", timeout_ms=10_000
            )
        )
        try:
            return await ask(Vault(mongo.database, load_ring(system.key_dir / "vault-keys")))
        finally:
            mongo.close()

    return asyncio.run(read())


def _opened(system: System, records: Sequence[Sealed]) -> dict[tuple[str, str], bytes]:
    """Read the encrypted parts of records by the vault."""

    async def keys(vault: Vault) -> dict[str, list[bytes]]:
        user = await vault.key_of(user_subject(NAME), create=False)
        own = {
            each.id: await vault.key_of(personal_subject(bytes.fromhex(each.id)), create=False)
            for each in records
        }
        return {name: [each for each in (user, key) if each] for name, key in own.items()}

    tried, found = _asked(system, keys), {}
    for record in records:
        of = bytes.fromhex(record.id)
        for name, content in record.parts.items():
            for key in tried[record.id] if is_encrypted(content) else ():
                with contextlib.suppress(EncryptedPartError):  # another user's
                    own = record_key(key, of, name)
                    found[record.id, name] = encrypted_parts.decrypt(own, of, name, content)
    return found


def test_the_search_finds_what_is_there_and_no_topic_ever_held_it(world: World) -> None:
    database = world.system.database_name
    assert world.before["name"] >= {f"{database}.accounts"}
    assert world.before["account"] >= {f"{database}.sessions"}
    for name in (*VALUES, "purpose"):
        assert world.before[name] == set(), name
    assert not any(place.startswith("topic goods") for each in world.before.values() for place in each)


def test_what_is_held_is_exported_in_clear_and_verifies(erased: World) -> None:
    exported = erased.exported
    assert exported["user"] == NAME
    assert exported["accounts"]["account"]["name"] == NAME
    assert "password" not in exported["accounts"]["account"]
    assert len(exported["accounts"]["sessions"]) >= 1
    looks = [each for each in exported["looks"]["looks"] if each["method"] == "Trace"]
    assert len(looks) == 5
    keys = LogKeys.load(erased.system.key_dir)
    messages = [log_pb2.Checkpoint(**each) for each in exported["looks"]["checkpoints"]]
    checkpoints = verify_checkpoints(messages, keys)
    for look in looks:
        assert look["parts"]["who"]["user"] == NAME
        assert look["parts"]["purpose"]["purpose"] == PURPOSE
        proved = verify_entry(log_pb2.SealedEntry.FromString(b64decode(look["sealed"])), checkpoints)
        assert json.loads(proved.parts["who"])["user"] == NAME


def test_no_store_knows_anything_any_more(erased: World) -> None:
    found = places(erased.system, erased.known)
    short = {f"topic {each}" for each in SHORT}
    for name, there in found.items():
        left = {place for place in there if not place.startswith("file watch-data/")} - short
        assert not left if name.startswith("pseudonym") else not there, f"{name}: {there}"


def test_the_user_is_nobody_and_can_begin_anew(erased: World) -> None:
    with LoginClient(erased.system.query_target) as login, pytest.raises(CallError) as refused:
        login.sign_in(NAME, PASSWORD)
    assert refused.value.code == "UNAUTHENTICATED"


def test_proofs_hold_and_replay_and_fsck_find_nothing(erased: World) -> None:
    system = erased.system
    with _client(system, _auditor(system)) as client:
        for receipt in erased.receipts:
            proved = client.browse_proof(receipt)
            assert proved.entry is not None
        (event,) = [each.event for each in client.trace(ITEM).events if each.event.facts]
        assert event.facts is not None
        assert event.facts.event_id == EVENT_ID
        assert event.personal() == {}
        assert "personal" in event.position.withheld
    records = system.sealed("browse/")
    sealed = [each for each in records if entries.decode(each.entry).kind is Kind.ERASURE]
    told = [json.loads(each.parts["erasure"]) for each in sealed]
    assert sorted(each["scope"] for each in told) == ["event", "event", "user"]
    assert {each["reason"] for each in told} == {"asked"}
    _ok(system.cli("fsck", "--vkeys", str(system.key_dir)))
    verified = json.loads(_ok(system.cli("replay", "verify", "--json")))
    assert verified["logs"]


def test_guesses_with_the_true_content_fail(erased: World) -> None:
    """What an attacker tries who has Kafka, the store, the index secret, and knows what was said word for word."""
    system = erased.system
    secret = bytes.fromhex((system.key_dir / "index-secret").read_text().strip())
    everything = [content for _, content in stores(system)]
    sealed = {each.id: each for each in (*system.sealed("browse/"), *system.sealed("goods/"))}
    assert {name for _, name in erased.clear} == {"who", "what", "purpose", "personal"}
    told = [*system.topic_records("goods.browsed"), *system.topic_records("goods.collected")]
    material = {secret, hmac.digest(secret, NAME.encode(), "sha256"), hashlib.sha256(NAME.encode()).digest()}
    material |= {part.salt for _, each in told for part in each.parts}
    commitments = {json.loads(sealed[of].parts[name])["key"] for of, name in erased.clear}
    for content in everything:  # is some 32 bytes anywhere the key of a part?
        windows = {content[at : at + 32] for at in range(min(len(content), 2048) - 31)}
        assert commitments.isdisjoint(hashlib.sha256(each).hexdigest() for each in windows)
    for (record_id, name), clear in erased.clear.items():
        of, shown = bytes.fromhex(record_id), sealed[record_id]
        commits = {part.name: part.commit for part in entries.decode(shown.entry).parts}
        guesses = {*material, hashlib.sha256(clear).digest(), hmac.digest(secret, clear, "sha256")}
        for guess in guesses:
            assert hashlib.sha256(record_key(guess, of, name)).hexdigest() not in commitments
            assert entries.commit(name, guess, clear).hex() != commits[name]
        for digest in (hashlib.sha256(clear).digest(), hmac.digest(secret, clear, "sha256")):
            assert not any(digest in each or digest.hex().encode() in each for each in everything)
