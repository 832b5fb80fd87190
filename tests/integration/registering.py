"""Merchants registered by hand, and services that ask who calls."""

import os
import time
from pathlib import Path
from typing import Any, Final

from goodstrace.registration import merchant_key
from services.collector.registry.registrations import Registration, changes, item_of
from services.collector.registry.store import RegistryStore
from services.runtime.merchants.api_keys import new_key
from services.runtime.merchants.values import Merchant, What, plain
from services.runtime.mongo import Database

OPERATOR: Final = "the operator's token"


def asking(folder: Path) -> dict[str, str]:
    """The environment of services that ask who calls, and look whether that counts at least each 0.1 s."""
    (folder / "operator-token").write_text(OPERATOR)
    return {
        "GOODSTRACE_ACCOUNTS": "required",
        "GOODSTRACE_OPERATOR_TOKEN_FILE": str(folder / "operator-token"),
        "GOODSTRACE_ACCESS_FRESH_S": "0.1",
    }


class Registered:
    """The merchants of a database: `keys` are what each shows, the last one made, and `key_ids` their IDs."""

    def __init__(self, database: Database) -> None:
        self.registry = RegistryStore(database)
        self.keys: dict[int, str] = {}
        self.key_ids: dict[int, str] = {}
        self._time_ms = time.time_ns() // 1_000_000

    async def register(self, merchant: int, **content: Any) -> None:
        """Register a merchant, anew too."""
        self._time_ms += 1
        told = Registration(
            What.MERCHANT,
            merchant_key(merchant),
            merchant,
            plain(Merchant(f"merchant {merchant}", **content)),
        )
        await self.registry.apply(changes([item_of(told, self._time_ms, os.urandom).record]))

    async def give_key(self, merchant: int) -> None:
        """Give a merchant one more key."""
        kept, self.keys[merchant] = new_key(merchant, "", 1, os.urandom)
        self.key_ids[merchant] = kept.id
        await self.registry.add_key(kept)

    def shown(self, merchant: int) -> dict[str, str]:
        """The headers of a merchant's requests; for 0 those of an operator."""
        return {"authorization": f"Bearer {self.keys[merchant] if merchant else OPERATOR}"}
