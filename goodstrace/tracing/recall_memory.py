"""What a recall remembers of the goods it met: which they were, as hashes, and which are yet to be expanded, compressed."""

import hashlib
import zlib
from array import array
from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from goodstrace.tracing.recall import Reached

_BLOCK: Final = 500
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(list[tuple[str, str, str, tuple[str, ...], bool]])


class Seen:
    """A set of texts as 64-bit hashes under a secret of up to 64 bytes, in 16 to 32 bytes each.

    Two of a million texts have one hash with a probability of 3 in 10^8; then one of them counts as seen. Nobody who does not know the secret can choose such two.
    """

    def __init__(self, secret: bytes) -> None:
        self._key: Final = secret
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> bool:
        """Add a text; tell whether it is new."""
        if 2 * self._count >= len(self._table):
            self._grow()
        if not _put(self._table, self._hash(text)):
            return False
        self._count += 1
        return True

    def __contains__(self, text: str) -> bool:
        value, mask = self._hash(text), len(self._table) - 1
        place = value & mask
        while self._table[place] not in (0, value):
            place = (place + 1) & mask
        return self._table[place] == value

    def _hash(self, text: str) -> int:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "big") or 1  # 0 is a free place

    def _grow(self) -> None:
        larger = array("Q", bytes(16 * len(self._table)))
        for value in self._table:
            if value:
                _put(larger, value)
        self._table = larger


def _put(table: "array[int]", value: int) -> bool:
    mask = len(table) - 1
    place = value & mask
    while table[place]:
        if table[place] == value:
            return False
        place = (place + 1) & mask
    table[place] = value
    return True


class Waiting:
    """Goods that were met and are yet to be expanded, in the order they came; all but the newest and the oldest few compressed."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._newest: list[Reached] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, reached: Reached) -> None:
        """Put goods last."""
        self._newest.append(reached)
        self._count += 1
        if len(self._newest) >= _BLOCK:
            self._blocks.append(zlib.compress(_ENCODER.encode(self._newest), 1))
            self._newest = []

    def drain(self) -> Iterator[Reached]:
        """Take them out, the first first."""
        while self._blocks:
            for each in _DECODER.decode(zlib.decompress(self._blocks.popleft())):
                self._count -= 1
                yield Reached(*each)
        newest, self._newest = self._newest, []
        for reached in newest:
            self._count -= 1
            yield reached
