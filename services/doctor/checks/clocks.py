"""Do all clocks say the same? Pure. Nothing here orders by clocks, but blocks state times, and tokens and certificates end at some."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.doctor.values import Finding, ago, failed, ok, warning

TOLERATED_S: Final = 2.0
"""A header of HTTP has whole seconds, and an answer takes its time."""
TOO_MUCH_S: Final = 30.0
"""Access tokens are believed so far beside their times."""


class ClockSeen(msgspec.Struct, frozen=True):
    """A clock, and how far it is ahead of ours. `is_past`: it is a time that was written down, which may be behind but not ahead."""

    what: str
    ahead_s: float
    is_past: bool = False


def check_clocks(seen: Sequence[ClockSeen]) -> list[Finding]:
    """Compare clocks with that of this machine."""
    return [_clock(each) for each in seen] or [
        warning("no clock could be compared", "mend the connections first", "docs/doctor.md")
    ]


def _clock(seen: ClockSeen) -> Finding:
    off_s = max(seen.ahead_s, 0.0) if seen.is_past else abs(seen.ahead_s)
    if off_s <= TOLERATED_S:
        said = f"{ago(-seen.ahead_s)} ago" if seen.is_past else "as here"
        return ok(f"{seen.what}: {said}")
    text = f"{seen.what}: {ago(off_s)} {'ahead of' if seen.ahead_s > 0 else 'behind'} this machine"
    do = "see that both machines follow NTP (chronyc tracking); the ledger waits where its clock went back"
    return (failed if off_s > TOO_MUCH_S else warning)(text, do, "services.md#servicedown")
