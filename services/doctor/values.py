"""What a check says. Pure."""

from enum import StrEnum
from typing import Final

import msgspec

RUNBOOKS: Final = "docs/runbooks/"


class Level(StrEnum):
    """How it is: `warning` needs somebody within days, `failed` now."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    seen: what it is now. do: what to do about it, empty where it is well. runbook: page and section below docs/runbooks, or another page of docs.
    """

    level: Level
    seen: str
    do: str = ""
    runbook: str = ""


class Checked(msgspec.Struct, frozen=True):
    """One check with all that it found, and how long it took."""

    name: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def level(self) -> Level:
        """The worst of its findings."""
        return worst(self.findings)


def ok(seen: str) -> Finding:
    """Say that something is well."""
    return Finding(Level.OK, seen)


def warning(seen: str, do: str, runbook: str) -> Finding:
    """Say that something needs somebody within days."""
    return Finding(Level.WARNING, seen, do, _page(runbook))


def failed(seen: str, do: str, runbook: str) -> Finding:
    """Say that something needs somebody now."""
    return Finding(Level.FAILED, seen, do, _page(runbook))


def worst(findings: "tuple[Finding, ...] | list[Finding]") -> Level:
    """Give the worst level; nothing found is well."""
    levels = {each.level for each in findings}
    return next((level for level in (Level.FAILED, Level.WARNING) if level in levels), Level.OK)


def listed(names: "list[str] | tuple[str, ...]", most: int = 4) -> str:
    """Name the first few, and count the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def ago(seconds: float) -> str:
    """Say a time span for people, in its largest sensible unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _page(runbook: str) -> str:
    return runbook if runbook.startswith("docs/") else RUNBOOKS + runbook
