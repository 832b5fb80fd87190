"""When who tries too often must wait, or work. Pure: counts are values, times are given.

Nobody is refused for what strangers elsewhere do: a lock holds for one (account, network) or one device, and where failures come from
all over, whoever shows no device token must work (`challenges`), never stay away. docs/decisions/0032-accounts.md.
"""

from typing import Final

import msgspec

WINDOW_MS: Final = 15 * 60_000
MORE_BITS: Final = 4


class Count(msgspec.Struct, frozen=True):
    """How many attempts in a row have failed, or are under way, and when the last one came (Unix ms)."""

    n: int = 0
    at_ms: int = 0


class Rule(msgspec.Struct, frozen=True):
    """So many failures are free; each further one locks twice as long as the one before, and a count is forgotten when nothing comes."""

    free: int = 5
    first_ms: int = 30_000
    longest_ms: int = 15 * 60_000
    forgotten_ms: int = 60 * 60_000


def locked_until_ms(count: Count, rule: Rule) -> int:
    """Tell when the next attempt may be made; 0 where it may at any time."""
    if count.n < rule.free:
        return 0
    doublings = min(count.n - rule.free, 30)
    return count.at_ms + min(rule.first_ms << doublings, rule.longest_ms)


def counted(count: Count, rule: Rule, now_ms: int) -> Count:
    """Count an attempt in, before it is known how it ends: so that a hundred at a time are no more than a hundred in a row."""
    if now_ms >= count.at_ms + rule.forgotten_ms:
        return Count(1, now_ms)
    return Count(count.n + 1, max(now_ms, count.at_ms))


def window(now_ms: int) -> int:
    """Give the number of the window in which a failure is counted."""
    return now_ms // WINDOW_MS


def recent(current: int, before: int, now_ms: int) -> int:
    """Estimate the failures of the last WINDOW_MS: this window's, and of the one before the part that reaches into it."""
    left = 1 - (now_ms % WINDOW_MS) / WINDOW_MS
    return max(current, 0) + int(max(before, 0) * left)


def bits_for(failures: int, free: int, base_bits: int) -> int:
    """Give the zero bits to be worked for: one more for each doubling of failures over what is free, MORE_BITS at the most."""
    doublings = max(failures // max(free, 1), 1).bit_length() - 1
    return base_bits + min(doublings, MORE_BITS)
