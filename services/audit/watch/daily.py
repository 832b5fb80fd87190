"""Users as the watch knows them: pseudonyms, each of a user on one UTC day. Pure.

Whoever goes on after midnight is somebody else to the watch. Hence sets of users of two days cannot be merged: how many there were in a window over midnight
is told by the day with more of them. That is never too many, and half of them at the least.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from goodstrace.grouping import grouped
from services.audit.watch.sketches import DISTINCT_KEPT, distinct, union

DAY_MS: Final = 86_400_000
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{24}")


def is_pseudonym(subject: str) -> bool:
    """Say whether a user's subject is somebody's pseudonym, and no word for nobody in particular, such as "anonymous"."""
    return _PSEUDONYM.fullmatch(subject) is not None


def distinct_users(sets: Mapping[int, Sequence[int]]) -> int:
    """Tell how many users there were at least, given the set of each pane by its start in milliseconds; no pane is of two days."""
    days = grouped((start // DAY_MS, members) for start, members in sets.items())
    return max(
        (distinct(each[0] if len(each) == 1 else union(each, DISTINCT_KEPT)) for each in days.values()),
        default=0,
    )
