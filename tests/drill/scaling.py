"""The project's rules on a faster clock: each duration in them is so many times shorter, and nothing else is changed.

An alert that waits for ten minutes would make a drill of hours. Ratios, rates a second and numbers of records are not times and stay as they are.
"""

import re
from typing import Final

SCALE: Final = 30
"""A minute of the rules is two seconds of the drill."""
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"\[(\d+)([smhd])\]|(?<=\bfor: )(\d+)([smhd])\b")
_SECONDS: Final = re.compile(r"(_seconds\)?|_timestamp_seconds\)?) > (\d+)(?=\)?$)", re.MULTILINE)


def faster(rules: str) -> str:
    """Make of a file of rules the one of the drill."""
    return _SECONDS.sub(_threshold, _DURATION.sub(_duration, rules))


def _duration(found: "re.Match[str]") -> str:
    number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
    shorter = f"{int(number) * _UNITS_S[unit] * 1000 // SCALE}ms"
    return f"[{shorter}]" if found[1] else shorter


def _threshold(found: "re.Match[str]") -> str:
    """Shorten how old something may be; ages of 0 stay."""
    return f"{found[1]} > {int(found[2]) / SCALE:g}"
