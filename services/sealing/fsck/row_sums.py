"""The rows that packs give the index by tag, remembered as products: enough to compare with any run, however long. Pure.

Two lists of rows are the same, in whatever order, if the products of (secret + row) over them are, modulo a prime, but for a
chance of (number of rows) / 2^128 that nobody who does not know the secret can better. A product of all rows so far, kept at
heights where runs may begin or end, gives that of any run by one division.
"""

import secrets
from collections.abc import Iterable, Sequence
from math import prod
from typing import Final

import msgspec

from services.sealing.tag_index import FANOUT, PREFIX_BYTES, ROW_BYTES
from services.sealing.values import Pack

_PRIME: Final = 2**192 - 2**64 - 1
_AT_ONCE: Final = 16  # factors between two divisions
_LEVELS: Final = 20
_KEPT: Final = 64  # of each level: more than a writer lets wait to be merged
MOST_LOST: Final = 10_000
"""Blocks whose rows are not known, before none is."""
_SHIFT: Final = 8 * (ROW_BYTES - PREFIX_BYTES)


class Sums(msgspec.Struct, frozen=True):
    """What is remembered, in a form to be stored: numbers as hex."""

    secret: str
    product: str
    kept: list[tuple[int, str]]
    lost: list[int]


class RowSums:
    """Products of rows, by height."""

    def __init__(self, sums: Sums | None = None) -> None:
        """Begin, or go on."""
        self._secret = int(sums.secret, 16) if sums else secrets.randbits(128)
        self._product = int(sums.product, 16) if sums else 1
        self._kept: list[dict[int, int]] = [{} for _ in range(_LEVELS)]
        self._lost = set(sums.lost if sums else ())
        for height, product in sums.kept if sums else ():
            self._keep(height, int(product, 16))

    def sums(self) -> Sums:
        """Give what to store."""
        kept = {height: product for level in self._kept for height, product in level.items()}
        return Sums(
            f"{self._secret:x}",
            f"{self._product:x}",
            [(h, f"{p:x}") for h, p in sorted(kept.items())],
            sorted(self._lost),
        )

    def block(self, height: int, packs: Sequence[Pack] | None) -> None:
        """Add the rows of the block at a height, from all its packs; None where some are not there."""
        self._keep(height, self._product)
        if packs is None:
            self._lost |= {height} if len(self._lost) < MOST_LOST else set()
            return
        for pack in packs:
            base = self._secret + pack.first
            self._product = self._times(
                self._product,
                [base + (int.from_bytes(tag[:PREFIX_BYTES], "big") << _SHIFT) for tag in pack.tags],
            )

    def ended(self, height: int) -> None:
        """Remember where the blocks end: `height` is that of the next one."""
        self._keep(height, self._product)

    def of_page(self, product: int, data: bytes) -> int:
        """Multiply a product, 1 at first, by the rows of a page."""
        rows = range(0, len(data), ROW_BYTES)
        return self._times(
            product, [self._secret + int.from_bytes(data[at : at + ROW_BYTES], "big") for at in rows]
        )

    def between(self, start: int, end: int) -> int | None:
        """Give the product of the rows of the blocks start..end-1; None where it is not known."""
        begun = next((level[start] for level in self._kept if start in level), None)
        ended = next((level[end] for level in self._kept if end in level), None)
        if begun is None or ended is None or self.lost(range(start, end)):
            return None
        return ended * pow(begun, -1, _PRIME) % _PRIME

    def lost(self, heights: range) -> bool:
        """Tell whether rows of some of these blocks are not known, since their packs are not there."""
        return len(self._lost) >= MOST_LOST or any(height in heights for height in self._lost)

    def _times(self, product: int, factors: Sequence[int]) -> int:
        for start in range(0, len(factors), _AT_ONCE):
            product = product * prod(factors[start : start + _AT_ONCE]) % _PRIME
        return product

    def _keep(self, height: int, product: int) -> None:
        for level, kept in enumerate(self._kept):
            if height % FANOUT**level:
                break
            kept[height] = product
            if len(kept) > _KEPT:
                del kept[min(kept)]


def rows_of(packs: Iterable[Pack]) -> list[bytes]:
    """Give the rows of packs, in no order."""
    return [
        tag[:PREFIX_BYTES] + first
        for pack in packs
        for first in (pack.first.to_bytes(ROW_BYTES - PREFIX_BYTES, "big"),)
        for tag in pack.tags
    ]
