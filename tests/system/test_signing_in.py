"""The commands of people on the whole system: the local stack's users, signing in with a password, and what each may do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.credentials import FILE, make_credentials
from deploy.processes import silent
from deploy.stack import Stack
from goodstrace.credentials import local_user
from tests.system.harness import System


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System]) -> System:
    return systems(stack, GOODSTRACE_ACCOUNTS="required").start()


@pytest.fixture
def kept(tmp_path: Path, system: System) -> dict[str, str]:
    """Where this person's sessions are."""
    return {
        "GOODSTRACE_SESSIONS": str(tmp_path / "sessions"),
        "GOODSTRACE_KEYRING": "off",
        "GOODSTRACE_CREDENTIALS": str(system.run_dir / FILE),
        "GOODSTRACE_OPERATOR_TOKEN_FILE": "",
    }


def told(system: System, more: dict[str, str], *arguments: str) -> Any:
    done = system.cli_with(more, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def again(system: System) -> None:
    make_credentials(
        system.run_dir,
        system.capture_url,
        system.operator_token_file,
        silent,
        query_target=system.query_target,
    )


def test_each_role_has_a_user_whose_password_is_its_own(system: System) -> None:
    path = system.run_dir / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    users = json.loads(before)["users"]
    assert sorted(users) == ["auditor", "merchant", "operator", "shopper"]
    assert len({user["password"] for user in users.values()}) == 4
    again(system)
    assert path.read_text() == before  # what still counts is kept
    users["auditor"]["password"] = "forgotten"
    path.write_text(json.dumps({**json.loads(before), "users": users}))
    again(system)
    renewed = json.loads(path.read_text())["users"]
    assert renewed["auditor"]["password"] not in (
        "forgotten",
        json.loads(before)["users"]["auditor"]["password"],
    )
    assert renewed["shopper"] == users["shopper"]


def test_commands_of_the_local_stack_are_its_users(system: System, kept: dict[str, str]) -> None:
    accounts = told(system, kept, "accounts", "list")["accounts"]
    assert {"demo-auditor", "demo-merchant", "demo-operator", "demo-shopper"} <= {
        each["name"] for each in accounts
    }
    told(system, kept, "accounts", "show", "demo-auditor")
    names = sorted(path.name for path in Path(kept["GOODSTRACE_SESSIONS"]).glob("*.json"))
    assert names == [f"{system.query_target.replace(':', '%3A')}~operator.json"]
    assert told(system, kept, "whoami")["means"] == "api-key"
    assert told(system, kept, "browses", "--by", "nobody")["browses"] == []


def test_a_person_signs_in_and_is_that_person_until_signing_out(
    system: System, kept: dict[str, str], tmp_path: Path
) -> None:
    user = local_user(system.run_dir / FILE, system.query_target, "shopper")
    assert user is not None
    password = tmp_path / "password"
    password.write_text(user.password)
    who = told(system, kept, "login", "--name", user.name, "--password-file", str(password))
    assert (who["name"], who["roles"], who["means"]) == ("demo-shopper", ["shopper"], "token")
    assert len(told(system, kept, "sessions")["sessions"]) >= 1
    refused = system.cli_with(kept, "accounts", "list")
    assert refused.returncode == 1
    assert "PERMISSION_DENIED" in refused.stderr
    assert told(system, kept, "logout")["ended"] == 1
    assert told(system, kept, "whoami")["means"] == "api-key"
    password.write_text("wrong")
    refused = system.cli_with(kept, "login", "--name", user.name, "--password-file", str(password))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "UNAUTHENTICATED" in refused.stderr


def test_an_operator_makes_a_service_account_that_gets_its_tokens_itself(
    system: System, kept: dict[str, str], tmp_path: Path
) -> None:
    made = told(system, kept, "accounts", "add", "shop-web", "--service", "--role", "platform")
    secret = tmp_path / "secret"
    secret.write_text(made["credential"])
    shown = {
        **kept,
        "GOODSTRACE_CLIENT_ID": "shop-web",
        "GOODSTRACE_CLIENT_SECRET_FILE": str(secret),
    }
    who = told(system, shown, "whoami")
    assert (who["name"], who["roles"]) == ("shop-web", ["platform"])
    assert told(system, kept, "accounts", "set", "shop-web", "--disable")["status"] == "disabled"
    assert "UNAUTHENTICATED" in system.cli_with(shown, "whoami").stderr
    told(system, kept, "accounts", "remove", "shop-web", "--yes")
    system.wait_looks_sealed()
    changes = [
        (each["who"]["user"], each["what"]["method"], each["what"].get("query", ""), each["verified"])
        for each in told(system, kept, "browses", "urn:goodstrace:accounts")["browses"]
        if f"urn:goodstrace:account:{made['id']}" in each["what"]["keys"]
    ]
    assert changes == [
        ("demo-operator", "DeleteAccount", "", True),
        ("demo-operator", "UpdateAccount", "status=disabled", True),
        ("demo-operator", "CreateAccount", "kind=service roles=platform status=active", True),
    ]
