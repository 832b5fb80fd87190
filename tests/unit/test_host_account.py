"""Who runs a command is asked of the system: the environment, and so whoever is recorded, has no say in it."""

import asyncio
import os
import pwd
from typing import Any

import pytest
from click.testing import CliRunner

from services.audit.watch import command as watching
from services.erasure import command as erasing
from services.runtime import host_account
from services.runtime.host_account import account_here

VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "somebody-else")


def test_the_environment_has_no_say() -> None:
    assert account_here() == pwd.getpwuid(os.getuid()).pw_name


def test_where_there_are_no_names_it_is_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_account.os, "getuid", lambda: 2**31 - 7)
    assert account_here() == str(2**31 - 7)


class Stop(Exception):
    """Nothing goes on behind this."""


def test_an_export_is_recorded_under_the_account_that_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Any] = []

    class Recorder:
        async def record(self, browse: Any) -> str:
            looks.append(browse)
            raise Stop

    monkeypatch.setattr(erasing, "_recorder", lambda _erasing: Recorder())
    nothing: Any = None
    with pytest.raises(Stop):
        asyncio.run(erasing._export(nothing, "ann", "a request", None))
    [look] = looks
    assert look.user == f"host:{pwd.getpwuid(os.getuid()).pw_name}"


def test_a_block_says_which_account_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[Any] = []

    class Blocks:
        def __init__(self, _database: Any) -> None:
            """Blocks of a database."""

        def put(self, block: Any) -> None:
            put.append(block)

    monkeypatch.setattr(watching, "Blocks", Blocks)
    monkeypatch.setattr(watching, "_with_database", lambda call: call(None))
    result = CliRunner().invoke(watching.watch, ["blocks", "add", "user:ann"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    [block] = put
    assert block.by == f"operator {pwd.getpwuid(os.getuid()).pw_name}"
