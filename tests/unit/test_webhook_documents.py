"""Documents of named queries and webhooks: what is written is read again, and one that is damaged is named and in nobody else's way."""

import asyncio
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services.query.webhooks.asked import NamedQuery
from services.query.webhooks.documents import (
    document_of,
    locked_of,
    query_of,
    query_or_damaged,
    webhook_of,
    webhook_or_damaged,
)
from services.query.webhooks.values import (
    Damaged,
    Locked,
    OwnerId,
    OwnerKind,
    Pending,
    Progress,
    Sees,
    State,
    TimeMs,
    Under,
    Webhook,
)
from services.query.webhooks.views import query_view, webhook_view
from services.runtime.access.lasting import Credential, CredentialKind
from services.sealing.errors import CorruptError
from tests.unit.visible_world import SHOP
from tests.unit.webhook_world import NAME, Hooked

TIMES: Final = st.integers(0, 253_402_300_799_999)
WHOLE: Final = Webhook(
    id=NAME,
    query="q",
    definition={"EQ_bizStep": ["shipping"]},
    dest="https://a.example/",
    locked=Locked(b"nonce and secret"),
    user="ann",
    created_ms=1_700_000_000_000,
    progress=Progress({"goods.3": 7}, Pending("m", {"goods.3": 9}, 5), next_ms=3, last_success_ms=2),
    owner="merchant:7",
    owner_id=OwnerId(OwnerKind.MERCHANT, "7"),
    sees=Sees.OWNER,
    maker=Credential(CredentialKind.API_KEY, "ab" * 8),
)
ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=5,
)
LEASE: Final = {"lease_owner", "lease_until_ms", "state", "next_ms"}  # for searching: not read back


@given(TIMES, TIMES, st.binary(max_size=99), st.sampled_from(Under), st.none() | st.just(WHOLE.owner_id))
def test_what_is_written_is_read_again(
    created_ms: int, next_ms: TimeMs, data: bytes, under: Under, owner: OwnerId | None
) -> None:
    webhook = msgspec.structs.replace(
        WHOLE,
        created_ms=created_ms,
        locked=Locked(data, under),
        owner_id=owner,
        maker=WHOLE.maker if owner else None,
        progress=msgspec.structs.replace(WHOLE.progress, next_ms=next_ms),
    )
    document = document_of(webhook)
    assert webhook_of(document) == webhook_or_damaged(document) == webhook
    assert locked_of(document) == webhook.locked


def test_what_an_earlier_release_did_not_keep_is_as_it_was_then() -> None:
    later = ("locked_under", "sees", "owner", "owner_kind", "owner_id", "maker")
    read = webhook_of({name: each for name, each in document_of(WHOLE).items() if name not in later})
    assert read.locked.under is Under.INDEX
    assert (read.sees, read.owner, read.owner_id, read.maker) == (Sees.PUBLIC, "", None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"locked_under": "a vault"}, "a vault"),
        ({"locked": ...}, "'locked' is missing"),
        ({"locked": "text"}, "Expected `bytes`"),
        ({"progress": "{"}, "truncated"),
        ({"progress": '{"positions": {}, "state": "asleep"}'}, "asleep"),
        ({"progress": '{"positions": {}, "next_ms": 253402300800000}'}, "next_ms"),
        ({"definition": 5}, "int"),
        ({"definition": "[" * 100_000}, "recursion"),
        ({"owner_kind": "ghost"}, "ghost"),
        ({"owner_id": ...}, "'owner_id' is missing"),
        ({"maker": {"kind": "api-key"}}, "`id`"),
        ({"created_ms": -1}, "created_ms"),
        ({"created_ms": "today"}, "created_ms"),
    ],
)
def test_a_damaged_one_is_named_with_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    document = {name: each for name, each in (document_of(WHOLE) | changes).items() if each is not ...}
    with pytest.raises(CorruptError, match=f"the document of the webhook {NAME} is damaged") as told:
        webhook_of(document)
    assert said in str(told.value)
    assert webhook_or_damaged(document) == Damaged(NAME, "q", str(told.value))


@given(st.sampled_from(sorted(document_of(WHOLE).keys() - {"_id"})), ANYTHING | st.just(...))
def test_whatever_a_member_holds_it_is_read_and_shown_or_named(name: str, value: Any) -> None:
    document = document_of(WHOLE) | {name: value}
    if value is ...:
        del document[name]
    read = webhook_or_damaged(document)
    assert read.id == webhook_view(read, {})["subscriptionID"] == NAME
    assert isinstance(read, Webhook) or name not in LEASE
    assert locked_of(document) is not None or isinstance(read, Damaged)


def test_the_view_of_a_damaged_one_says_how_to_be_rid_of_it_and_nothing_of_what_is_stored() -> None:
    assert webhook_view(Damaged(NAME, "q", "secret"), {}) == {
        "subscriptionID": NAME,
        "queryName": "q",
        "goodstrace:state": "damaged",
        "goodstrace:lastError": "corrupt: what is stored of it is damaged: tell the operator, or remove it and make another one",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"query": ...}, "'query' is missing"),
        ({"query": "{"}, "truncated"),
        ({"query": 5}, "int"),
        ({"query": "[]"}, "Expected `object`"),
        ({"query": "[" * 100_000}, "recursion"),
        ({"query": '{"EQ_ofALaterRelease": ["x"]}'}, "EQ_ofALaterRelease"),
        ({"query": '{"EQ_bizStep": ["shipping"], "orderBy": "eventTime"}'}, "orderBy"),
    ],
)
def test_a_damaged_query_is_named_with_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    whole = {"_id": "q", "query": '{"EQ_bizStep": ["shipping"]}', "user": "ann", "created_ms": 1}
    assert query_or_damaged(whole) == query_of(whole) == NamedQuery("q", {"EQ_bizStep": ["shipping"]})
    document = {name: each for name, each in (whole | changes).items() if each is not ...}
    with pytest.raises(CorruptError, match="the document of the query q is damaged") as told:
        query_of(document)
    assert said in str(told.value)
    assert query_or_damaged(document) == Damaged("q", "q", str(told.value))


@given(
    ANYTHING
    | st.dictionaries(
        st.sampled_from(["EQ_bizStep", "GE_eventTime", "goodstrace:key", "goodstrace:merchant", "orderBy"])
        | st.text(max_size=3),
        st.lists(st.text(max_size=5) | st.integers(), max_size=3) | st.text(max_size=5) | st.none(),
    ).map(lambda members: msgspec.json.encode(members).decode()),
    st.text() | st.integers(),
)
def test_whatever_a_query_holds_it_is_read_and_shown_or_named(value: Any, own: Any) -> None:
    read = query_or_damaged({"_id": own, "query": value})
    assert query_view(read)["name"] == str(own)


def test_the_view_of_a_damaged_query_says_the_same() -> None:
    assert query_view(Damaged("q", "q", "secret")) == {
        "name": "q",
        "goodstrace:state": "damaged",
        "goodstrace:lastError": "corrupt: what is stored of it is damaged: tell the operator, or remove it and make another one",
    }


def test_one_that_asks_for_what_is_not_known_waits_and_says_so() -> None:
    shop = Hooked({}, definition={"EQ_ofALaterRelease": ["x"]})
    shop.subscribe(shop.key_of(SHOP))
    shop.turn()
    assert (shop.progress.state, shop.progress.failures) == (State.ACTIVE, 1)
    assert "EQ_ofALaterRelease" in shop.progress.last_error
    assert shop.gauge("goodstrace_query_webhooks_failing") == 1
    assert not shop.receiver.attempts


def test_a_damaged_one_is_counted_and_named_once_and_the_others_go_on() -> None:
    shop = Hooked({})
    shop.subscribe(shop.key_of(SHOP))
    damaged = Damaged("cd" * 16, "q", "'locked' is missing")
    with capture_logs() as logs:
        for there in ([damaged], [damaged], [], [damaged]):
            shop.store.damaged = there
            behind = asyncio.run(shop.worker._behind())
            assert behind == [shop.store.webhook]
            assert shop.gauge("goodstrace_query_webhooks_failing") == len(there), "the alert that fits"
            assert shop.gauge("goodstrace_query_webhooks", state="damaged") == len(there)
            assert shop.gauge("goodstrace_query_webhooks", state="enabled") == 1
    said = [each for each in logs if each["event"] == "a webhook is damaged"]
    assert [(each["webhook"], each["why"]) for each in said] == [(damaged.id, damaged.why)] * 2
    shop.turn()
    assert shop.progress.state is State.ACTIVE
    assert shop.delivered
