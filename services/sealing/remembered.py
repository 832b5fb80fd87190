"""What was read before, kept within a bound of bytes: what was asked for longest ago goes first. Pure, no I/O."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
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
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Hold no longer what was asked for longest ago; there is something."""
        _, (_, gone) = self._held.popitem(last=False)
        self.size_bytes -= gone


class FairlyRemembered(Generic[Key, Value]):
    """A mapping of values that have owners, which holds at most so many bytes in all.

    Where there is no more room, whoever holds most gives up what they asked for longest ago. So of n owners nobody who holds at most the n-th part
    of the room loses anything, whatever the others do, and one who is alone may have all of it. For each value that goes all owners are
    looked at. Source: max-min fairness.
    """

    def __init__(self, most_bytes: int, owner_of: Callable[[Key], Hashable]) -> None:
        """Hold at most `most_bytes`, counted as `Remembered` counts them; `owner_of` says by its key whose a value is."""
        self._most_bytes, self._owner_of = most_bytes, owner_of
        self._of: dict[Hashable, Remembered[Key, Value]] = {}

    def __len__(self) -> int:
        """Count the values held."""
        return sum(map(len, self._of.values()))

    @property
    def size_bytes(self) -> int:
        """What all of them take."""
        return sum(each.size_bytes for each in self._of.values())

    def get(self, key: Key) -> Value | None:
        """Give a value that is held."""
        held = self._of.get(self._owner_of(key))
        return held.get(key) if held is not None else None

    def items(self) -> list[tuple[Key, Value]]:
        """List what is held: of each owner what was asked for longest ago first."""
        return [item for each in self._of.values() for item in each.items()]

    def drop(self, key: Key) -> None:
        """Hold a value no longer; one that is not held is no fault."""
        owner = self._owner_of(key)
        if (held := self._of.get(owner)) is not None:
            held.drop(key)
            self._forget_if_empty(owner)

    def put(self, key: Key, value: Value, size_bytes: int) -> None:
        """Hold a value of `size_bytes` in the place of what was held by this key."""
        owner = self._owner_of(key)
        self._of.setdefault(owner, Remembered(self._most_bytes)).put(key, value, size_bytes)
        self._forget_if_empty(owner)
        over = self.size_bytes - self._most_bytes
        while over > 0:
            owner = max(self._of, key=lambda each: self._of[each].size_bytes)
            held = self._of[owner]
            over -= held.size_bytes
            held.drop_oldest()
            over += held.size_bytes
            self._forget_if_empty(owner)

    def _forget_if_empty(self, owner: Hashable) -> None:
        if not self._of[owner]:  # else as many owners would be remembered as ever had anything
            del self._of[owner]
