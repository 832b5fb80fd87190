"""Export of what the vault and the watch keep of a user beside the looks."""

from collections.abc import AsyncIterator
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from goodstrace.audit.v1 import watch_pb2
from services.audit.figures.goods import viewed
from services.audit.watch.store import ACTIVITY, ALERTS
from services.audit.watch.values import Kind
from services.runtime.blocking import BLOCKS, PSEUDONYM, USER
from services.runtime.mongo import Database, translated
from services.runtime.vault import open_vault, user_subject
from services.runtime.vault.keys import ASKED
from services.runtime.vault.people import PSEUDONYMS
from services.sealing.erasure.steps import Known

_USERS: Final = [str(Kind.USER), str(Kind.SERIES)]


async def export_vault(database: Database, known: Known) -> AsyncIterator[tuple[str, Any]]:
    """Give the legal `hold` that is on a user, the `pseudonym`s of the days that are kept, the records in which the user was `asked` for, and the goods `viewed` on days that are not over.

    Raises: UnavailableError, VaultError.
    """
    held = await open_vault(database).held(user_subject(known.name))
    if held is not None:
        yield "hold", {"until_ms": held[0], "reason": held[1]}
    async with translated():
        async for each in known.vault[PSEUDONYMS].find({"subject": known.subject}):
            yield "pseudonym", {"pseudonym": each["_id"], "day": each["day"]}
        async for each in known.vault[ASKED].find({"subject": known.subject}):
            yield "asked", {"record": bytes(each["_id"]).hex()}
    async for row in viewed(known.vault, known.pseudonyms):
        yield "viewed", {name: row[name] for name in ("day", "merchant", "role", "step")}


async def export_watched(database: Database, known: Known) -> AsyncIterator[tuple[str, Any]]:
    """Give what the watch keeps of a user under the pseudonyms of these days: each `alert`, `activity` (the figures of a window) and `block`. Raises: UnavailableError."""
    wanted = {"about": {"$in": _USERS}, "subject": {"$in": list(known.pseudonyms)}}
    blocked = [f"{USER}:{known.name}", *(f"{PSEUDONYM}:{each}" for each in known.pseudonyms)]
    async with translated():
        async for each in database[ALERTS].find(wanted):
            alert = watch_pb2.Alert.FromString(bytes(each["alert"]))
            yield "alert", MessageToDict(alert, preserving_proto_field_name=True)
        async for each in database[ACTIVITY].find(wanted, {"_id": 0}):
            yield "activity", dict(each)
        async for each in database[BLOCKS].find({"_id": {"$in": blocked}}):
            yield "block", {"subject": each.pop("_id"), **each}
