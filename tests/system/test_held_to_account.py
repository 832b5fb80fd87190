"""Both sides held to what they did, on the whole system with accounts on: the service to the receipts that it signed, and users and networks to the watch."""

import json
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from deploy.credentials import FILE
from deploy.stack import Stack
from goodstrace.client import Client
from goodstrace.credentials import local_user
from goodstrace.errors import CallError
from goodstrace.log_keys import LogKeys
from goodstrace.login import LoginClient
from goodstrace.receipt_store import Kept, ReceiptStore
from goodstrace.receipts import Receipt
from services.audit.watch.store import ALERTS
from services.query.accounts.key_ring import KeyFiles
from services.query.accounts.receipt_signing import signed_receipt
from services.query.accounts.signing_keys import signing
from services.runtime.blocking import FRESH_S
from services.runtime.looks import Look
from tests.browse_campaign import watch_of
from tests.system.harness import System, eventually
from tests.system.simulated import seal_simulation

WORD: Final = "a long word that nobody guesses 7"
RULES: Final = """
version = "test-1"
grace_s = 60
statistics_s = 300
keep_days = 30
exempt = []

[[rules]]
id = "many-looks"
about = "user"
measure = "looks"
size_s = 20
hop_s = 20
at_least = 40
severity = "critical"
block_s = 900
says = "One user looked very often."

[[rules]]
id = "guessed"
about = "network"
measure = "sign-ins-refused"
size_s = 600
hop_s = 300
at_least = 6
severity = "critical"
block_s = 900
says = "Sign-ins from one network fail again and again."
"""


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System]) -> System:
    """All services, and a worker of the watch that goes by rules of its own."""
    made = systems(stack, GOODSTRACE_ACCOUNTS="required")
    daemon = watch_of(made)
    rules = made.run_dir / "rules.toml"
    rules.write_text(RULES)
    daemon.environment = {**daemon.environment, "GOODSTRACE_WATCH_RULES": str(rules)}
    made.start()
    daemon.start()
    made.daemons["watch"] = daemon
    made.metrics_ports["watch"] = daemon.ports[0]
    return made


@pytest.fixture(scope="module")
def item(system: System) -> str:
    """Something that can be looked at."""
    return seal_simulation(system, seed=3, events=50, events_per_document=50)


class Person:
    """One who signs in on the command line, and keeps receipts."""

    def __init__(self, system: System, folder: Path, role: str) -> None:
        user = local_user(system.run_dir / FILE, system.query_target, role)
        assert user is not None
        self.system, self.receipts = system, folder / "receipts.jsonl"
        self.settings = {
            "GOODSTRACE_SESSIONS": str(folder / "sessions"),
            "GOODSTRACE_KEYRING": "off",
            "GOODSTRACE_CREDENTIALS": "",
            "GOODSTRACE_OPERATOR_TOKEN_FILE": "",
            "GOODSTRACE_RECEIPTS": str(self.receipts),
            "GOODSTRACE_MEMORY": str(folder / "checkpoints.json"),
        }
        password = folder / "password"
        password.write_text(user.password)
        self.run("login", "--name", user.name, "--password-file", str(password))

    def run(self, *arguments: str, status: int = 0) -> str:
        done = self.system.cli_with(self.settings, *arguments)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def checked(self, *more: str, status: int = 0) -> list[dict[str, Any]]:
        """Check all receipts, as `goodstrace browses --mine --verify` does."""
        told = json.loads(self.run("browses", "--mine", "--verify", "--json", *more, status=status))
        assert isinstance(told["receipts"], list)
        return told["receipts"]

    def kept(self) -> list[Kept]:
        return ReceiptStore(self.receipts).all()

    def write(self, kept: list[Kept]) -> None:
        self.receipts.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in kept))


def test_receipts_are_kept_to_and_the_one_that_is_not_is_found_out(
    system: System, item: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    person = Person(system, tmp_path, "shopper")
    for _ in range(2):
        person.run("trace", item)
    looks = len(person.kept())
    assert looks >= 2

    def all_sealed() -> bool:
        return {each["standing"] for each in person.checked()} == {"sealed"}

    eventually(all_sealed, what="all looks are sealed")
    found = person.checked()
    assert {each["signed"] for each in found[:looks]} == {"yes"}, "by a key of the key set"
    assert len(found) > looks, "listing one's looks is a look, too"
    assert {each["signed"] for each in found[looks:]} == {"no"}, "the audit service has no key to sign with"
    assert not any(each["problem"] for each in found)

    before = person.kept()
    forged = _promised(system)
    person.write([*before, Kept(system.query_target, forged)])
    [waits] = [each for each in person.checked("--within", "600") if each["browse_id"] == forged.browse_id]
    assert (waits["standing"], waits["signed"], waits["problem"]) == ("not sealed yet", "yes", "")
    eventually(lambda: time.time() > forged.time_ms / 1000 + 1, what="its time is over")
    found = person.checked("--within", "1", status=1)
    broken = [each for each in found if each["problem"]]
    assert [each["browse_id"] for each in broken] == [forged.browse_id]
    assert (broken[0]["standing"], broken[0]["signed"]) == ("missing", "yes")
    assert broken[0]["receipt"] == forged.signed, "what is to be shown to others"
    assert "cannot show them in its log" in person.run(
        "browses", "--mine", "--verify", "--within", "1", status=1
    )

    _tampered(person, before)
    person.write(before)
    eventually(all_sealed, what="all that is really there is still in order")
    tell(f"receipts: {looks} signed and sealed, a promised one that is nowhere found out")


def _promised(system: System) -> Receipt:
    """A receipt as the service signs them, by its own key, of a record that is nowhere."""
    key = signing(KeyFiles(system.key_dir / "login", 900).read(), time.time_ns() // 1_000_000)
    assert key is not None
    look = Look(secrets.token_bytes(16), secrets.token_bytes(32), "browse/0", time.time_ns() // 1_000_000)
    signed = signed_receipt(key, "goodstrace.local", look)
    return Receipt(look.record_id.hex(), look.leaf_hash, look.log, look.time_ms, signed)


def _tampered(person: Person, kept: list[Kept]) -> None:
    """Change a kept receipt in each way that somebody might."""
    first, receipt = kept[0], kept[0].receipt
    head, payload, signature = receipt.signed.split(".")
    other = "A" if signature[0] != "A" else "B"
    changes: dict[str, Receipt] = {
        "is not the record of the look": Receipt(receipt.browse_id, bytes(32), receipt.log, receipt.time_ms),
        "what is signed is another receipt": Receipt(
            receipt.browse_id, receipt.leaf_hash, receipt.log, receipt.time_ms + 1, receipt.signed
        ),
        "signature of the receipt": Receipt(
            receipt.browse_id,
            receipt.leaf_hash,
            receipt.log,
            receipt.time_ms,
            f"{head}.{payload}.{other}{signature[1:]}",
        ),
    }
    for problem, changed in changes.items():
        person.write([Kept(first.target, changed), *kept[1:]])
        broken = [each for each in person.checked(status=1) if each["problem"]]
        assert [each["browse_id"] for each in broken] == [receipt.browse_id], problem
        assert problem in broken[0]["problem"]
    person.receipts.write_bytes(b'{"target": "nonsense"}\n')
    person.run("browses", "--mine", "--verify", status=1)


class Looker:
    """An account of its own, and how its looks are answered."""

    def __init__(self, system: System, name: str) -> None:
        self.client = Client(
            system.query_target,
            LogKeys.load(system.key_dir),
            purpose="a test",
            audit_target=system.audit_target,
            token=system.signed_in(name, WORD),
        )

    def refusal(self, item: str) -> str:
        """Look once; why it was refused, empty where it was answered."""
        try:
            self.client.trace(item)
        except CallError as error:
            if error.code != "PERMISSION_DENIED":
                raise
            return str(error)
        return ""

    def often(self, item: str) -> str:
        """Look ten times, more often than a command line can; why it was refused at last, empty where it was answered."""
        return next(filter(None, (self.refusal(item) for _ in range(10))), "")


def _blocks(system: System) -> list[dict[str, Any]]:
    done = system.cli("watch", "blocks", "list", "--names", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _lift(system: System, subject: str) -> None:
    done = system.cli("watch", "blocks", "lift", subject)
    assert (done.returncode, "is not blocked any more" in done.stdout) == (0, True), done.stderr


def _alerts(system: System, rule: str) -> int:
    return system.store[ALERTS].count_documents({"rule": rule})


def test_a_user_whom_the_watch_blocks_is_refused_until_an_operator_lifts_it(
    system: System, item: str, tell: Callable[[str], None]
) -> None:
    system.wait_ready("watch", 90)
    eve, ann = Looker(system, "eve"), Looker(system, "ann")
    began = time.monotonic()
    eventually(lambda: eve.often(item), every_s=0, what="one who looks again and again is refused")
    refused_s = time.monotonic() - began
    assert re.search(r"blocked until \d{4}-", eve.refusal(item))
    assert ann.refusal(item) == "", "others are not"
    [block] = _blocks(system)
    assert (block["user"], block["by"], block["reason"]) == ("eve", "watch", "many-looks")
    assert block["subject"].startswith("pseudonym:")

    told = _alerts(system, "many-looks")
    _lift(system, "user:eve")
    eventually(lambda: eve.refusal(item) == "", every_s=0.1, what="the operator's word counts")
    lifted = time.monotonic()

    def told_again() -> bool:
        asked = time.monotonic()
        refused = eve.often(item)
        assert asked - lifted < 5 or refused == ""
        return _alerts(system, "many-looks") > told

    eventually(told_again, every_s=0.2, what="the watch tells of eve in another window")
    time.sleep(FRESH_S + 1)
    assert eve.refusal(item) == "", "the watch does not put again for an hour what an operator has lifted"
    assert _blocks(system) == []
    for each in (eve, ann):
        each.client.close()
    tell(f"watch: refused {refused_s:.1f} s after the first look, lifted, told again and not blocked again")


def test_a_network_that_tries_passwords_is_refused_until_an_operator_lifts_it(
    system: System, item: str
) -> None:
    bob = Looker(system, "bob")
    assert bob.refusal(item) == ""
    for number in range(8):
        with LoginClient(system.query_target) as login, suppress(CallError):
            login.sign_in(f"nobody-{number}", "wrong")
    eventually(lambda: _alerts(system, "guessed"), what="the watch tells of the network")
    time.sleep(FRESH_S + 1)
    assert "this network is blocked until" in bob.refusal(item)
    [block] = [each for each in _blocks(system) if each["subject"].startswith("network:")]
    assert (block["by"], block["reason"]) == ("watch", "guessed")
    _lift(system, block["subject"])
    time.sleep(FRESH_S + 1)
    assert bob.refusal(item) == ""
    bob.client.close()
