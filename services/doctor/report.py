"""What `goodstrace doctor` shows. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from services.doctor.values import Checked, Finding, Level

_MARKS: Final = {Level.OK: "ok", Level.WARNING: "warning", Level.FAILED: "FAILED"}


class Report:
    """All checks of one run."""

    def __init__(self, checked: Sequence[Checked]) -> None:
        """Take the checks in the order in which they are shown."""
        self._checked = checked

    @property
    def is_well(self) -> bool:
        """Whether nothing failed; warnings may be there."""
        return not self._count(Level.FAILED)

    def json(self) -> str:
        """Give one JSON document."""
        counts = {str(level): self._count(level) for level in Level}
        told = [
            {
                "check": each.name,
                "level": each.level,
                "seconds": round(each.seconds, 3),
                "findings": each.findings,
            }
            for each in self._checked
        ]
        return msgspec.json.format(
            msgspec.json.encode({"well": self.is_well, **counts, "checks": told})
        ).decode()

    def lines(self, *, everything: bool) -> Iterator[tuple[Level, str]]:
        """Give lines for people with what each is about; with `everything` those that are well one by one, too."""
        for each in self._checked:
            well = [finding for finding in each.findings if finding.level is Level.OK]
            bad = [finding for finding in each.findings if finding.level is not Level.OK]
            if well and (everything or len(well) == 1):
                for finding in well:
                    yield from _lines(each.name, finding)
            elif well:
                yield Level.OK, f"{_MARKS[Level.OK]:<9}{each.name:<14}{len(well)} are well"
            for finding in sorted(bad, key=lambda finding: finding.level is Level.WARNING):
                yield from _lines(each.name, finding)
        yield self._worst(), self._summary()

    def _worst(self) -> Level:
        return next((level for level in (Level.FAILED, Level.WARNING) if self._count(level)), Level.OK)

    def _summary(self) -> str:
        bad, soon = self._count(Level.FAILED), self._count(Level.WARNING)
        if not bad and not soon:
            return f"{len(self._checked)} checks: all is well"
        return f"{len(self._checked)} checks: {bad} failed, {soon} warnings" + (
            "" if bad else "; nothing needs you now"
        )

    def _count(self, level: Level) -> int:
        return sum(finding.level is level for each in self._checked for finding in each.findings)


def _lines(check: str, finding: Finding) -> Iterator[tuple[Level, str]]:
    yield finding.level, f"{_MARKS[finding.level]:<9}{check:<14}{finding.seen}"
    if finding.do:
        yield finding.level, f"{'':<23}-> {finding.do} ({finding.runbook})"
