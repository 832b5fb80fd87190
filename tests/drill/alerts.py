"""What Prometheus says of alerts while a part is away and after it is back."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.drill.parts import Expected
from tests.prometheus import Prometheus

POLL_S: Final = 0.25
ALWAYS: Final = ("DiskFilling", "CertificateEnds")  # no matter of the parts'


@dataclass
class Told:
    """When an alert went through its states, in seconds: pending and firing since the kill, cleared since the part was back."""

    expected: Expected
    pending_s: float | None = None
    firing_s: float | None = None
    cleared_s: float | None = None

    @property
    def is_well(self) -> bool:
        """Whether it came, fired and cleared."""
        return None not in (self.pending_s, self.firing_s, self.cleared_s)


@dataclass
class Watcher:
    """Follows the alerts of one part's death."""

    prometheus: Prometheus
    expected: Sequence[Expected]
    others: set[str] = field(default_factory=set)

    def active(self) -> list[tuple[dict[str, str], str]]:
        """List the alerts that are pending or firing: labels and state."""
        found: list[dict[str, Any]] = self.prometheus.ask("alerts")["alerts"]
        return [
            (each["labels"], each["state"]) for each in found if each["labels"]["alertname"] not in ALWAYS
        ]

    def quiet(self, deadline_s: float) -> bool:
        """Wait until none of those expected is active, nor any that wakes somebody up; False where that does not come."""
        until = time.monotonic() + deadline_s
        while any(
            labels["severity"] == "page" or any(each.is_it(labels) for each in self.expected)
            for labels, _ in self.active()
        ):
            if time.monotonic() > until:
                return False
            time.sleep(POLL_S)
        return True

    def coming(self, deadline_s: float) -> list[Told]:
        """Wait until all that are expected fire; what does not in time has no time."""
        began = time.monotonic()
        told = [Told(each) for each in self.expected]
        while any(each.firing_s is None for each in told) and time.monotonic() - began < deadline_s:
            for labels, state in self.active():
                self._note(told, labels, state, time.monotonic() - began)
            time.sleep(POLL_S)
        return told

    def clearing(self, told: Sequence[Told], deadline_s: float) -> None:
        """Wait until all that came are gone."""
        began = time.monotonic()
        while any(each.cleared_s is None for each in told) and time.monotonic() - began < deadline_s:
            active = [labels for labels, _ in self.active()]
            for each in told:
                if each.cleared_s is None and not any(each.expected.is_it(labels) for labels in active):
                    each.cleared_s = time.monotonic() - began
            time.sleep(POLL_S)

    def _note(self, told: Sequence[Told], labels: dict[str, str], state: str, after_s: float) -> None:
        found = [each for each in told if each.expected.is_it(labels)]
        if not found and labels["alertname"] not in {each.alert for each in self.expected}:
            self.others.add(labels["alertname"])
        for each in found:
            if each.pending_s is None:
                each.pending_s = after_s
            if each.firing_s is None and state == "firing":
                each.firing_s = after_s
