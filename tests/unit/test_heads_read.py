"""Heads of logs as each look-up reads them: one that has not changed is not decoded again, one that has is seen at once."""

from typing import Any, cast

import pytest

from services.runtime.mongo import Database
from services.sealing import documents, mongo
from services.sealing.mongo import MongoBlockStore
from services.sealing.values import Head, StoredCheckpoint


def head(size: int, note: str) -> Head:
    checkpoint = StoredCheckpoint("goods/0", size, bytes(32), note)
    return Head(height=size, checkpoint=checkpoint, published=checkpoint)


async def test_a_head_that_has_changed_is_seen_and_another_is_the_same_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = head(1, "one")

    async def found(*_: Any) -> list[dict[str, Any]]:
        return [documents.head_document(stored)]

    monkeypatch.setattr(mongo, "find_all", found)
    store = MongoBlockStore(cast("Database", None))
    first = (await store.heads_under("goods/"))["goods/0"]
    assert first == stored
    assert (await store.heads_under("goods/"))["goods/0"] is first
    for stored in (head(1, "one, cosigned"), head(2, "two")):
        assert await store.heads_under("goods/") == {"goods/0": stored}
