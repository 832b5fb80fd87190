"""What of a day's counts may be told, so that no count of fewer than five people can be derived. Pure.

The counts are a tree: the day, its roles, their steps. A count below LEAST_VIEWERS, also 0, is not told (primary suppression). Where a sum is told,
what is left of it after the counts that are told must not give away those that are not: then the smallest of them is left out as well
(complementary suppression), with all below it. Nothing says of a count that is left out why it is, and equal ones are left out together: so
whoever knows the rule can exchange the counts that are left out for one another and gets the same answer.
Source: Hundepool et al., Statistical Disclosure Control (2012), chapter 4, tabular data; the rule is checked by trying all tables of some sizes.
"""

from collections.abc import Mapping
from typing import TypeVar

from services.runtime.goods_browses.values import LEAST_VIEWERS, ROLES, STEPS, Cell, DayCounts, RoleCounts

K = TypeVar("K")


def told_of_day(counted: Mapping[Cell, int]) -> DayCounts:
    """Say what may be told of one day.

    Args:
        counted: people by role and step; what is not in it is 0.
    """
    steps = {role: {step: counted.get((role, step), 0) for step in STEPS} for role in ROLES}
    roles = {role: sum(of_role.values()) for role, of_role in steps.items()}
    total = sum(roles.values())
    if total < LEAST_VIEWERS:
        return DayCounts()
    return DayCounts(
        {role: RoleCounts(viewers, told(steps[role])) for role, viewers in told(roles).items()}, total
    )


def told(counts: Mapping[K, int]) -> dict[K, int]:
    """Say which of some counts, at least two, may be told where their sum is told.

    Returns: the counts that are told, in the order given; each is LEAST_VIEWERS or more.
    """
    shown = {key: count for key, count in counts.items() if count >= LEAST_VIEWERS}
    most_left_out = LEAST_VIEWERS - 1
    while shown and len(shown) < len(counts):
        hidden = [count for key, count in counts.items() if key not in shown]
        are_all_small = max(hidden) <= most_left_out
        if (
            len(hidden) > 1
            and sum(hidden) >= LEAST_VIEWERS
            and not (are_all_small and min(hidden) == most_left_out)
        ):
            break
        smallest = min(shown.values())
        shown = {key: count for key, count in shown.items() if count > smallest}
    return shown
