"""Noticing another index secret than the one that the sealed tags were made with: nothing would be found any more.

A value derived from the secret lies beside the installation's ID; the secret cannot be had from it.
"""

import hmac
from typing import Final

from services.runtime.errors import ConflictError, SettingsError
from services.runtime.mongo import Database, translated
from services.sealing.indexes import INSTANCE

_ID: Final = "index-secret"
_DERIVATION: Final = b"goodstrace index secret check v1"


async def check_secret(database: Database, secret: bytes, *, register: bool = False) -> None:
    """Compare with the secret that was registered first; with `register` it is this one where there is none.

    Raises: SettingsError where it is another; UnavailableError.
    """
    value = hmac.digest(secret, _DERIVATION, "sha256").hex()
    async with translated():
        known = await database[INSTANCE].find_one({"_id": _ID})
    if known is None and register:
        try:
            async with translated():
                await database[INSTANCE].insert_one({"_id": _ID, "value": value})
        except ConflictError:
            await check_secret(database, secret)  # another process was first
    elif known is not None and known["value"] != value:
        raise SettingsError(
            "the index secret is another than the one this store was begun with: put the old one back, or nothing is found"
        )
