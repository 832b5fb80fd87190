"""Forgetting: after a user and an event's personal data were erased no store knows them, every proof holds, and guesses fail."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import pwd
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from deploy.credentials import FILE
from deploy.stack import Stack
from goodstrace import asked_user, encrypted_parts
from goodstrace import entry as entries
from goodstrace.client import Client
from goodstrace.credentials import local_user
from goodstrace.encrypted_parts import is_encrypted, record_key
from goodstrace.entry import Kind
from goodstrace.errors import CallError, EncryptedPartError
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys
from goodstrace.login import LoginClient
from goodstrace.receipts import Receipt
from goodstrace.verification import verify_checkpoints, verify_entry
from services.runtime.mongo import Mongo
from services.runtime.personal_values import personal_subject
from services.runtime.settings import MongoSettings
from services.runtime.vault import Vault, VaultError, user_subject
from services.runtime.vault.opening import load_ring
from tests.browse_campaign import watch_of
from tests.erasure_search import is_allowed, places, plant, stores
from tests.go_programs import OTELCOL
from tests.otel_collector import OtelCollector
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
WEBHOOK = "https://forgetme.example/zoe-hook"
PASSWORD = "a long word that nobody guesses 7"


@dataclass
class World:
    """The system before the erasing, and what it knew."""

    system: System
    token: str
    receipts: list[Receipt]
    known: dict[str, str]
    before: dict[str, set[str]]
    more: dict[str, Path]
    kept: dict[str, Any]
    asked: dict[str, bytes] = field(default_factory=dict)
    exported: list[dict[str, Any]] = field(default_factory=list)
    clear: dict[tuple[str, str], bytes] = field(default_factory=dict)


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
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtelCollector | None]:
    """What takes the traces of all services, where it is built."""
    if not OTELCOL.is_built:
        yield None
        return
    with OtelCollector(tmp_path_factory.mktemp("traces")) as collector:
        yield collector


def _subscribe(system: System) -> None:
    """Keep a named query and a webhook of the user, as the query service does for who may have one."""
    own = {"user": NAME, "owner": NAME, "created_ms": 7}
    system.store["epcis_queries"].insert_one({"_id": "zoes", "query": "{}", **own})
    progress = {"state": "disabled", "next_ms": 0, "progress": '{"positions":{},"state":"disabled"}'}
    told = {"_id": "7" * 32, "query": "zoes", "definition": "{}", "dest": WEBHOOK, "locked": b"", **own}
    system.store["epcis_subscriptions"].insert_one(
        {**told, **progress, "lease_owner": "", "lease_until_ms": 0}
    )


def _asked_for(system: System) -> dict[str, bytes]:
    """The encrypted name of the user, by the IDs of the records that ask for that one, read with all keys of the vault."""
    keys, found = system.user_keys(), {}
    for each in system.sealed("browse/"):
        of = bytes.fromhex(each.id)
        what = _opened_with(keys, of, "what", each.parts.get("what", b""))
        asked = asked_user.asked_in(what) if what else None
        named = _opened_with(keys, of, asked_user.MEMBER, asked) if asked else None
        if asked and named and json.loads(named)["user"] == NAME:
            found[each.id] = asked
    return found


def _opened_with(keys: list[bytes], of: bytes, part: str, content: bytes) -> bytes | None:
    """Open a part by whichever user's key it is under; None where there is none."""
    for key in (record_key(user_key, of, part) for user_key in keys):
        if hashlib.sha256(key).hexdigest().encode() in content:
            return encrypted_parts.decrypt(key, of, part, content)
    return None


@pytest.fixture(scope="module")
def world(stack: Stack, systems: Callable[..., System], traces: OtelCollector | None) -> Iterator[World]:
    exported = (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"} if traces else {}
    )
    system = systems(stack, GOODSTRACE_ACCOUNTS="required", **exported).start()
    watch = watch_of(system)
    watch.start()
    try:
        token = system.signed_in(NAME, PASSWORD)
        receipts: list[Receipt] = []
        system.capture_sealed([document(object_event(eventID=EVENT_ID, **PERSONAL))])
        system.capture([document(object_event(eventID=EVENT_ID, **PERSONAL | {"ex:consumerName": "Zoe F."}))])
        with _client(system, token, receipts) as client:
            for _ in range(5):
                client.trace(ITEM)
        _subscribe(system)
        listed = _ok(system.cli("browses", "--by", NAME, "--purpose", "the case of 4711", "--json"))
        assert NAME in listed
        vault = system.store.client[f"{system.database_name}_vault"]
        eventually(lambda: vault["browse_index"].count_documents({"method": "Trace"}) >= 5, what="the index")
        eventually(lambda: "topic browse.counted" in dict(stores(system)), what="the watch has counted")
        account = system.store["accounts"].find_one({"name": NAME})
        assert account is not None
        sessions = [str(each["_id"]) for each in system.store["sessions"].find({"account": account["_id"]})]
        known = {
            **VALUES,
            "name": NAME,
            "purpose": PURPOSE,
            "account": str(account["_id"]),
            "webhook": WEBHOOK,
        }
        subject = _asked(system, lambda vault: vault.hash_of(user_subject(NAME)))
        kept = vault["vault_keys"].find_one({"_id": subject})  # as an oplog and a backup keep it
        key = _asked(system, lambda vault: vault.key_of(user_subject(NAME), create=False))
        assert kept is not None
        assert key is not None
        known |= {"key": key.hex(), "wrapped key": bytes(kept["wrapped"]).hex()}
        known |= {f"session {number}": each for number, each in enumerate(sessions)}
        more = {"traces": traces.file.parent} if traces else {}
        eventually(lambda: _asked_for(system), what="the auditor's listing is sealed")
        yield World(system, token, receipts, known, places(system, known, more=more), more, kept)
    finally:
        watch.stop()


@pytest.fixture(scope="module")
def erased(world: World) -> World:
    """Export, hold, lift, and erase: the user and the event."""
    system = world.system
    world.clear |= _opened(system, [*system.sealed("browse/"), *system.sealed("goods/")])
    out = system.run_dir / "keys" / "export.json"
    out.touch(0o644)
    _ok(system.cli("audit", "export", "user", NAME, "--out", str(out)))
    world.asked |= _asked_for(system)
    world.exported = [json.loads(line) for line in out.read_bytes().splitlines()]
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
    ring = load_ring(system.key_dir / "vault-keys")
    assert ring.unwrap(world.kept, subject).hex() == world.known["key"]  # erased, and not final yet
    _ok(system.cli("audit", "vault", "rotate", "--no-settle"))
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
    assert world.before["webhook"] >= {f"{database}.epcis_subscriptions"}
    assert world.before["wrapped key"] >= {f"{database}_vault.vault_keys"}
    for name in (*VALUES, "purpose", "key"):
        assert world.before[name] == set(), name
    assert not any(place.startswith("topic goods") for each in world.before.values() for place in each)


def test_what_is_held_is_exported_in_clear_and_verifies(erased: World) -> None:
    exported = erased.exported
    assert exported[0]["value"]["name"] == NAME
    assert (exported[-1]["kind"], exported[-1]["value"]) == ("end", {"lines": len(exported) - 2})
    of: dict[str, list[Any]] = {}
    for each in exported:
        of.setdefault(each["kind"], []).append(each["value"])
    assert of["account"][0]["name"] == NAME
    assert "password" not in of["account"][0]
    assert of["session"]
    assert of["query"][0]["id"] == "zoes"
    assert of["subscription"][0]["dest"] == WEBHOOK
    export = exported[0]["value"]["browse_id"]
    assert {each["record"] for each in of["asked"]} - {export} == set(erased.asked) - {export}
    assert of["pseudonym"]
    looks = [each for each in of["look"] if each["method"] == "Trace"]
    assert len(looks) == 5
    keys = LogKeys.load(erased.system.key_dir)
    messages = [log_pb2.Checkpoint(**each) for each in of["checkpoint"]]
    checkpoints = verify_checkpoints(messages, keys)
    for look in looks:
        assert look["parts"]["who"]["user"] == NAME
        assert look["parts"]["purpose"]["purpose"] == PURPOSE
        proved = verify_entry(log_pb2.SealedEntry.FromString(b64decode(look["sealed"])), checkpoints)
        assert json.loads(proved.parts["who"])["user"] == NAME


def test_the_export_is_a_look_that_is_sealed(erased: World) -> None:
    export = erased.exported[0]["value"]["browse_id"]
    eventually(
        lambda: export in {each.id for each in erased.system.sealed("browse/")}, what="the export is sealed"
    )
    (record,) = [each for each in erased.system.looks() if each.id.hex() == export]
    parts = {part.name: json.loads(part.content) for part in record.parts}
    assert parts["who"] == {"role": "operator", "user": f"host:{pwd.getpwuid(os.getuid()).pw_name}"}
    assert (parts["what"]["method"], NAME in repr(parts)) == ("ExportUser", False)


def test_no_store_knows_anything_any_more(erased: World) -> None:
    system = erased.system
    planted = plant(system)
    if erased.more:
        receipt = erased.receipts[0].browse_id
        planted["a look in the traces"] = (receipt, ("traces spans.json",))
    texts = erased.known | {f"planted: {name}": text for name, (text, _) in planted.items()}
    found = places(system, texts, with_disks=True, more=erased.more)
    for name, (_, where) in planted.items():
        there = found.pop(f"planted: {name}")
        assert any(place.startswith(where) for place in there), f"{name} is not found: {there}"
    left = {(place, name) for name, there in found.items() for place in there}
    assert not {each for each in left if not is_allowed(*each)}


def test_what_an_oplog_still_holds_of_the_key_opens_by_nothing(erased: World) -> None:
    system = erased.system
    ring = load_ring(system.key_dir / "vault-keys")
    with pytest.raises(VaultError):
        ring.unwrap(erased.kept, erased.kept["_id"])
    assert len(system.user_keys()) >= 2  # everybody else's
    assert not any(key.hex() == erased.known["key"] for key in system.user_keys())


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
    rebuilt = _ok(system.cli("replay", "rebuild", "--into", f"{system.database_name}-again", "--json"))
    assert json.loads(rebuilt)["same_roots"]


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
    assert erased.asked
    for (
        record_id,
        asked,
    ) in erased.asked.items():  # under the auditor's key stands who was asked for, encrypted
        of, commitment = bytes.fromhex(record_id), json.loads(asked)["key"]
        assert NAME.encode() not in asked
        for guess in material:
            assert hashlib.sha256(record_key(guess, of, asked_user.MEMBER)).hexdigest() != commitment
            assert asked_user.encrypted(guess, of, NAME) != asked


def test_guesses_of_withheld_parts_of_goods_fail_with_the_true_content(erased: World) -> None:
    """What a stranger tries who has the public entry, all that others were shown with their salts, and the content word for word."""
    sealed = {each.id: each for each in erased.system.sealed("goods/")}
    records = [each for _, each in erased.system.topic_records("goods.stored") if each.id.hex() in sealed]
    salts = {part.salt for record in records for part in record.parts}
    for record in records:
        shown = sealed[record.id.hex()]
        commits = {part.name: part.commit for part in entries.decode(shown.entry).parts}
        for part in record.parts:
            true = shown.parts[part.name]
            assert entries.commit(part.name, part.salt, true).hex() == commits[part.name]
            derived = {hashlib.sha256(each).digest() for each in (true, record.id, shown.entry)}
            for guess in {bytes(32), *derived, *salts} - {part.salt}:
                assert entries.commit(part.name, guess, true).hex() != commits[part.name]
    assert len(salts) == sum(len(each.parts) for each in records)  # none is used twice


def test_what_is_not_recorded_is_not_exported(erased: World, tmp_path: Path) -> None:
    out = tmp_path / "earlier.json"
    out.write_text("an earlier one")
    nobody = {**erased.system.cli_environment, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    done = erased.system.cli_with(nobody, "audit", "export", "user", "somebody", "--out", str(out))
    assert (done.returncode, out.read_text()) == (1, "an earlier one"), done.stderr
    assert "Traceback" not in done.stderr
