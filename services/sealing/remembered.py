"""What was read before, kept within a bound of bytes: what was asked for longest ago goes first. Pure, no I/O."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# A name, the objects around the bytes and the place in the mapping, for those that are kept here.
OVERHEAD_BYTES: Final = 400


class Remembered(Generic[Key, Value]):
    """A mapping that holds at most so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        """Hold at most `most_bytes`, each value's own and OVERHEAD_BYTES beside it counted."""
        self._most_bytes = most_bytes
        self._held: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        """Count the values held."""
        return len(self._held)

    def get(self, key: Key) -> Value | None:
        """Give a value that is held."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def items(self) -> list[tuple[Key, Value]]:
        """List what is held, what was asked for longest ago first."""
        return [(key, value) for key, (value, _) in self._held.items()]

    def drop(self, key: Key) -> None:
        """Hold a value no longer; one that is not held is no fault."""
        _, gone = self._held.pop(key, (None, 0))
        self.size_bytes -= gone

    def put(self, key: Key, value: Value, size_bytes: int) -> None:
        """Hold a value of `size_bytes` in the place of what was held by this key."""
        _, before = self._held.pop(key, (None, 0))
        self._held[key] = (value, size_bytes + OVERHEAD_BYTES)
        self.size_bytes += size_bytes + OVERHEAD_BYTES - before
        while self.size_bytes > self._most_bytes:
            _, (_, gone) = self._held.popitem(last=False)
            self.size_bytes -= gone
