"""Checks side by side, each with a deadline: one that fails or hangs stops no other."""

import asyncio
import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from pydantic_settings import BaseSettings

from goodstrace.errors import GoodstraceError
from services.doctor.looks import Look
from services.doctor.values import Checked, Finding, Level, failed, ok
from services.runtime.errors import ServiceError
from services.runtime.settings import load

_NEIGHBOURS: Final = ("kafka", "mongodb")
_AWAY: Final = "neighbours.md#kafkafailing"
_RUNBOOKS: Final[Mapping[str, str]] = {"kafka": _AWAY, "topics": _AWAY, "lag": _AWAY}


def read_settings(kinds: Sequence[type[BaseSettings]]) -> tuple[list[BaseSettings], Checked]:
    """Read settings from the environment; those that cannot be are findings, by the names of their variables."""
    begun, read, found = time.monotonic(), list[BaseSettings](), list[Finding]()
    for kind in kinds:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                read.append(load(kind))
        except SystemExit:
            do = "set it right, here and for the services: they end with status 2 at their start for it"
            wrong = failed(said.getvalue().strip(), do, "services.md#servicedown")
            if wrong not in found:  # several groups may read, or refuse, the same variable
                found.append(wrong)
    findings = tuple(found or [ok(f"{len(read)} groups of settings can be used")])
    return read, Checked("settings", findings, time.monotonic() - begun)


async def run(checks: Mapping[str, Look], timeout_s: float) -> list[Checked]:
    """Run checks at the same time, each for `timeout_s` seconds at the most; gives them in their order."""
    return depending(await asyncio.gather(*(_one(name, look, timeout_s) for name, look in checks.items())))


def depending(checked: Sequence[Checked]) -> list[Checked]:
    """Let a check that says no more than that Kafka or MongoDB is away lead to the one that is about that. Pure."""
    causes = {
        finding.seen: each.name
        for each in checked
        if each.name in _NEIGHBOURS
        for finding in each.findings
        if finding.level is Level.FAILED
    }
    return [each if each.name in _NEIGHBOURS else _led(each, causes) for each in checked]


def _led(checked: Checked, causes: Mapping[str, str]) -> Checked:
    findings = tuple(
        msgspec.structs.replace(each, do=f"mend {causes[each.seen]} first, see above")
        if each.seen in causes
        else each
        for each in checked.findings
    )
    return msgspec.structs.replace(checked, findings=findings)


async def _one(name: str, look: Look, timeout_s: float) -> Checked:
    begun = time.monotonic()
    runbook = _RUNBOOKS.get(name, "neighbours.md#storefailing")
    try:
        async with asyncio.timeout(timeout_s):
            findings = await look()
    except TimeoutError:
        findings = [
            failed(
                f"no answer within {timeout_s:g} s",
                "see whether it is up; --timeout gives it longer",
                runbook,
            )
        ]
    except (ServiceError, GoodstraceError, OSError) as error:
        findings = [failed(str(error), "mend the connection, or the setting that names it", runbook)]
    except SystemExit:  # a setting that is only read where it is used: it said so on standard error
        findings = [
            failed("a setting cannot be used", "see what standard error says", "services.md#servicedown")
        ]
    except Exception as error:  # noqa: BLE001 - a check that is itself at fault hides no other
        findings = [
            failed(
                f"could not be checked: {type(error).__name__}: {error}",
                "this is a fault of the check",
                "docs/doctor.md",
            )
        ]
    return Checked(name, tuple(findings), time.monotonic() - begun)
