"""The collection `goods_renewals`: what is left to derive anew of goods' states, a document each merchant and log, gone once it is done.

A document is changed only where nobody else changed it since it was read (`stamp`). So of a keeper that has lost a partition and the one
that has it now only one moves the mark; and no mark is moved past states that were derived before a registration was known.

A document that is malformed holds up no other: it is passed over, which the log says, until another registration of the merchant takes its place.
"""

import contextlib
from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec
import structlog
from pymongo import InsertOne, ReplaceOne

from services.collector.renewals import Renewal, Renewed, begun
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.mongo import DOCUMENTS_A_CALL, Database, find_all, find_named, translated
from services.sealing.errors import CorruptError

RENEWALS: Final = "goods_renewals"
_ATTEMPTS: Final = 20


class RenewalStore:
    """Keeps them."""

    def __init__(self, database: Database, log: structlog.stdlib.BoundLogger) -> None:
        """Use the collection in `database`; `log` is told of documents that are malformed."""
        self._database, self._renewals, self._log = database, database[RENEWALS], log

    async def find(self, logs: Collection[str] | None) -> list[Renewal]:
        """Give those of some logs, None for all, by merchant; one is of a few hundred bytes. Malformed ones are passed over.

        Raises: UnavailableError.
        """
        found: list[Renewal] = []
        for row in await find_all(self._database, RENEWALS, {}):
            try:
                found.append(_renewal(row))
            except CorruptError as error:
                self._log.error("a renewal is passed over", id=row["_id"], error=str(error))
        return sorted(
            (each for each in found if logs is None or each.log in logs),
            key=lambda each: (each.merchant, each.log),
        )

    async def add(self, firsts: Mapping[Renewed, int]) -> None:
        """Begin renewals, or let those that are under way go around once more, from where they are; durable when it returns.

        The registrations must be kept before: what is derived anew after this goes by them.

        Args:
            firsts: the record time of the earliest registration, Unix milliseconds, by log and merchant.
        Raises: UnavailableError; some are begun then, and all may be given again.
        """
        every = sorted(firsts)
        for start in range(0, len(every), DOCUMENTS_A_CALL):
            await self._add(every[start : start + DOCUMENTS_A_CALL], firsts)

    async def advance(self, seen: Renewal, following: Renewal | None) -> Renewal | None:
        """Put what is left in the place of what was seen; None where nothing is left, with which the document goes.

        Raises: ConflictError where another changed it since it was seen; UnavailableError.
        """
        query = {"_id": _id(seen.of), "stamp": seen.stamp}
        async with translated():
            if following is None:
                done = (await self._renewals.delete_one(query)).deleted_count
            else:
                following = _stamped(following)
                done = (await self._renewals.replace_one(query, _row(following))).matched_count
        if not done:
            raise ConflictError(
                f"the renewal of merchant {seen.merchant} in {seen.log} was changed by another"
            )
        return following

    async def _add(self, some: Collection[Renewed], firsts: Mapping[Renewed, int]) -> None:
        for _ in range(_ATTEMPTS):
            rows = await find_named(self._database, RENEWALS, map(_id, some))
            there = {row["_id"]: row for row in rows}
            # One that has all parts before it is written too: a portion of it may be under way that does not know the registration.
            writes = [self._write(there.get(_id(each)), each, firsts[each]) for each in some]
            with contextlib.suppress(ConflictError):
                async with translated():
                    done = await self._renewals.bulk_write(writes, ordered=False)
                if done.inserted_count + done.matched_count == len(writes):
                    return
        raise UnavailableError(f"MongoDB: {len(some)} renewals are changed by others all the time")

    def _write(
        self, known: Mapping[str, Any] | None, of: Renewed, first_ms: int
    ) -> InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]]:
        """Begin a renewal, or the one whose document is known again."""
        try:
            following = begun(None if known is None else _renewal(known), of, first_ms)
        except CorruptError as error:
            self._log.error("a renewal is begun anew from the first record on", id=_id(of), error=str(error))
            following = begun(None, of, 0)  # from when on is not known any more
        row = _row(_stamped(following))
        if known is None:
            return InsertOne(row)
        return ReplaceOne({"_id": row["_id"], "stamp": known.get("stamp")}, row)


def _stamped(renewal: Renewal) -> Renewal:
    # Drawn, not counted: a document that went and came again would begin to count anew.
    return msgspec.structs.replace(renewal, stamp=uuid4().hex)


def _id(of: Renewed) -> str:
    log, merchant = of
    return f"{log}/{merchant}"


def _row(renewal: Renewal) -> dict[str, Any]:
    return {"_id": _id(renewal.of), **msgspec.structs.asdict(renewal)}


def _renewal(row: Mapping[str, Any]) -> Renewal:
    """Read a document. Raises: CorruptError where it is none, also where it is found under another name than its own."""
    try:
        renewal = msgspec.convert(row, Renewal)
    except msgspec.ValidationError as error:
        raise CorruptError(f"document {row['_id']} is malformed: {error}") from error
    if not row.items() >= _row(renewal).items():
        raise CorruptError(f"document {row['_id']} is malformed: it is not what is kept of {renewal.of}")
    return renewal
