"""Secrets are where they belong and nowhere else: not in logs, metrics, Kafka, the store or what is sealed, however the system is used.

Everything that people and programs show while they sign in, fail to, change passwords and use one-time codes is searched for in all that the services
leave behind, as text and in the spellings of bytes. The same search finds what must be there, so that it would find a leak.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bson
import httpx
import pyotp
import pytest

from deploy.credentials import FILE
from deploy.stack import Stack
from goodstrace.accounts import AccountsClient
from goodstrace.errors import CallError
from goodstrace.login import LoginClient
from goodstrace.registry import RegistryClient
from goodstrace.simulate import Simulation, SimulationOptions
from goodstrace.token_sources import FixedToken
from services.runtime import topics
from tests.opened_browses import opened_parts
from tests.system.harness import SERVICES, System, eventually

TYPED = "hunter2-typed-into-the-field-of-the-name"
WRONG = "a wrong password that is nearly right"
NEW = "nine calm otters paint doors"


@dataclass(frozen=True)
class Used:
    """What was shown by callers or is kept secret, by what it is, and everything that the services left."""

    secrets: dict[str, str]
    left: dict[str, bytes]


@pytest.fixture(scope="module")
def used(stack: Stack, systems: Callable[..., System]) -> Used:
    system = systems(stack, GOODSTRACE_ACCOUNTS="required").start()
    secrets = dict(shown(system))
    secrets |= {
        "operator token": system.operator_token_file.read_text().strip(),
        "index secret": (system.key_dir / "index-secret").read_text().strip(),
        "login secret": (system.key_dir / "login-secret").read_text().strip(),
    }
    for path in (system.key_dir / "login").glob("*.key"):
        secrets[f"signing key {path.stem}"] = json.loads(path.read_bytes())["d"]
    system.capture_sealed(
        [next(iter(Simulation(SimulationOptions(seed=3, events=20)).documents())).to_bytes()]
    )
    eventually(
        lambda: sum(each.log.startswith("browse/") for each in system.sealed("browse/")) > 3,
        what="sign-ins are sealed",
    )
    return Used(secrets, dict(left_by(system)))


def shown(system: System) -> Iterator[tuple[str, str]]:
    """Sign in, fail to, change, renew; give every secret that was sent either way."""
    yield "API key", system.api_key.rpartition("_")[2]
    users = json.loads((system.run_dir / FILE).read_text())["users"]
    yield from ((f"password of the {role}", user["password"]) for role, user in users.items())
    operator = FixedToken(system.operator_token_file.read_text().strip())
    with AccountsClient(system.query_target, operator) as accounts:
        _, temporary = accounts.add("ann", ["shopper"])
        yield "temporary password", temporary
        _, secret = accounts.add("shop", ["platform"], kind="service")
        yield "client secret", secret
    for name, password in ((TYPED, WRONG), ("ann", WRONG)):
        with LoginClient(system.query_target) as login, pytest.raises(CallError):
            login.sign_in(name, password)
    yield "what was typed into the wrong field", TYPED
    yield "a wrong password", WRONG
    with LoginClient(system.query_target) as login:
        first = login.sign_in("ann", temporary)
        yield "token of a program", login.issued("shop", secret).token
    yield from of_session("first", first.access_token, first.refresh_token)
    yield "device token", first.device_token
    with LoginClient(system.query_target, FixedToken(first.access_token)) as login:
        changed = login.change_password(temporary, NEW)
    yield "new password", NEW
    with LoginClient(system.query_target) as login:
        renewed = login.refresh(changed.refresh_token)
    yield from of_session("second", changed.issued.token, changed.refresh_token)
    yield from of_session("third", renewed.issued.token, renewed.refresh_token)
    with LoginClient(system.query_target, FixedToken(renewed.issued.token)) as login:
        begun = login.begin_totp(NEW)
        yield "secret of one-time codes", begun.secret
        for place, code in enumerate(login.confirm_totp(pyotp.TOTP(begun.secret).now())):
            yield f"recovery code {place}", code
    refuse_everywhere(system)


def of_session(name: str, access_token: str, refresh_token: str) -> Iterator[tuple[str, str]]:
    yield f"signature of the {name} access token", access_token.rpartition(".")[2]
    yield f"{name} refresh token", refresh_token.split("_")[2]


def refuse_everywhere(system: System) -> None:
    """Show credentials that do not count to each port."""
    for target in (system.query_target, system.audit_target):
        with (
            LoginClient(target, FixedToken(f"gst_0123456789abcdef_{'A' * 43}")) as login,
            pytest.raises(CallError),
        ):
            login.sessions()
    with RegistryClient(system.capture_url, WRONG.replace(" ", "-")) as registry, pytest.raises(CallError):
        registry.me()


def left_by(system: System) -> Iterator[tuple[str, bytes]]:
    for name in SERVICES:
        yield f"metrics of {name}", httpx.get(system.url(name, "/metrics")).content
    for collection in system.store.list_collection_names():
        rows = system.store[collection].find({})
        yield f"collection {collection}", b"\n".join(map(bson.encode, rows))
    vault = system.store.client[f"{system.database_name}_vault"]
    for collection in vault.list_collection_names():
        yield (
            f"collection {collection} of the vault",
            b"\n".join(map(bson.encode, vault[collection].find({}))),
        )
    yield (
        f"topic {topics.BROWSE_WATCHED}",
        b"\n".join(each for _, each in system.topic_values(topics.BROWSE_WATCHED)),
    )
    for name in (*topics.GOODS_TOPICS, topics.GOODS_BROWSED):
        yield f"topic {name}", b"\n".join(raw(system, name))
    keys = system.user_keys()
    for entry in system.sealed("browse/"):
        yield f"{entry.log}[{entry.index}]", b"\n".join([entry.entry, *entry.parts.values()])
        clear = opened_parts(bytes.fromhex(entry.id), entry.parts, keys)
        yield f"{entry.log}[{entry.index}], decrypted", b"\n".join(clear.values())
    for path in sorted(Path(system.run_dir, "logs").iterdir()):
        yield f"log {path.name}", path.read_bytes()


def raw(system: System, name: str) -> Iterator[bytes]:
    for _, record in system.topic_records(name):
        yield b"\n".join([record.id, *(part.content for part in record.parts)])


def spellings(secret: str) -> set[bytes]:
    """How a secret may be written: as it is, in JSON, as hex or base64 of its text, and as the bytes that its text stands for."""
    text = secret.encode()
    found = {
        text,
        json.dumps(secret).strip('"').encode(),
        text.hex().encode(),
        base64.b64encode(text).rstrip(b"="),
    }
    for read in (
        bytes.fromhex,
        base64.b32decode,
        lambda given: base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)),
    ):
        try:
            found.add(read(secret))
        except ValueError:
            continue
    return {each for each in found if len(each) >= 8}


def test_no_secret_is_left_anywhere(used: Used, tell: Callable[[str], None]) -> None:
    leaks = [
        f"{what} is in {where}"
        for what, secret in used.secrets.items()
        for where, data in used.left.items()
        if any(each in data for each in spellings(secret))
    ]
    assert not leaks
    searched = sum(map(len, used.left.values()))
    tell(
        f"secrets: {len(used.secrets)} searched for in {len(used.left)} places, {searched:,} bytes: none found"
    )


def test_the_search_would_find_them(used: Used) -> None:
    for name in ("ann", "demo-auditor", "demo-merchant"):
        assert name.encode() in used.left["collection accounts"]
        assert any(name.encode() in data for where, data in used.left.items() if where.startswith("browse/"))
    assert any(b"sign-in" in data for where, data in used.left.items() if where.startswith("browse/"))
    assert b"gst_" not in used.left["collection api_keys"]
    assert len(used.secrets) > 20
