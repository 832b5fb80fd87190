"""The audit service as a process: every look is sealed once, and who looked is listed with proofs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc, watch_pb2, watch_pb2_grpc
from goodstrace.checkpoint import Checkpoint
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.record.v1.record_pb2 import WatchedBrowse
from services.audit.browse_index import COLLECTION
from services.audit.watch import alerts as alert_values
from services.audit.watch.store import WatchStore
from services.audit.watch.store import provision as provision_watch
from services.audit.watch.values import Kind
from services.runtime.blocking import Block, Blocks
from services.runtime.mongo import beside
from services.runtime.vault import People, Vault
from services.runtime.vault.lately import of_today_and_yesterday
from services.runtime.vault.opening import load_ring
from tests.deadlines import DEADLINE_S
from tests.handmade import event
from tests.integration.looking import Looking, eventually, verified
from tests.unit.watch_world import watched
from tests.watch_scenarios import SCENARIOS, background, ending_at, pseudonym, records

TraceStub: TypeAlias = "trace_pb2_grpc.TraceServiceAsyncStub"
AuditStub: TypeAlias = "audit_pb2_grpc.AuditServiceAsyncStub"
ITEM = "https://id.gs1.org/01/09521234543213/21/1"
ITEM_URN = "urn:epc:id:sgtin:9521234.054321.1"
OTHER = "https://id.gs1.org/01/09521234543213/21/2"


@pytest.fixture
async def looking(looking: Looking) -> Looking:
    await looking.seal(
        {0: [event(1, ITEM, secret=looking.secret)], 1: [event(2, OTHER, secret=looking.secret)]}
    )
    await asyncio.gather(looking.start("query"), looking.start("audit"))
    return looking


@pytest.fixture
async def query(looking: Looking) -> AsyncIterator[TraceStub]:
    async with looking.query_channel() as channel:
        yield trace_pb2_grpc.TraceServiceStub(channel)


@pytest.fixture
async def audit(looking: Looking) -> AsyncIterator[AuditStub]:
    async with looking.audit_channel() as channel:
        yield audit_pb2_grpc.AuditServiceStub(channel)


async def _look(stub: TraceStub, key: str, user: str) -> str:
    answer = await stub.Trace(
        trace_pb2.TraceRequest(key=key, purpose="check"),
        timeout=DEADLINE_S,
        metadata=(("goodstrace-user", user),),
    )
    return str(answer.browse_id)


async def _sealed(looking: Looking, count: int) -> None:
    """Wait until so many looks are sealed, and in the index."""
    index = beside(looking.mongo.database, looking.vault.database)[COLLECTION]

    async def enough() -> bool:
        sealed = len(await looking.sealed_looks())
        return await index.count_documents({"time_ms": {"$exists": True}}) >= count and sealed >= count

    await eventually(enough, f"{count} looks are sealed")


def _records(
    answer: audit_pb2.ListBrowsesResponse, checkpoints: dict[str, Checkpoint]
) -> list[tuple[str, dict[str, Any]]]:
    """ID and parts of each record of an answer, verified."""
    return [
        (
            json.loads(each.entry)["id"],
            {name: json.loads(content) for name, content in verified(each, checkpoints).items()},
        )
        for each in answer.browses
    ]


async def test_looks_are_listed_by_key_and_by_user_with_proofs(
    looking: Looking, query: TraceStub, audit: AuditStub
) -> None:
    made = [
        await _look(query, ITEM, "ann"),
        await _look(query, OTHER, "ann"),
        await _look(query, ITEM_URN, "bob"),
    ]
    await _sealed(looking, 3)

    by_key = await audit.ListBrowses(
        audit_pb2.ListBrowsesRequest(key=ITEM_URN, purpose="who looked"),
        timeout=DEADLINE_S,
        metadata=(("goodstrace-user", "eve"),),
    )
    found = _records(by_key, await looking.opened(by_key.checkpoints))
    assert {record_id for record_id, _ in found} == {made[0], made[2]}
    assert {parts["who"]["user"] for _, parts in found} == {"ann", "bob"}
    assert all(parts["outcome"] == {"events": 1} for _, parts in found)
    assert all(parts["purpose"] == {"purpose": "check"} for _, parts in found)

    by_user = await audit.ListBrowses(audit_pb2.ListBrowsesRequest(user="ann"), timeout=DEADLINE_S)
    found = _records(by_user, await looking.opened(by_user.checkpoints))
    assert {record_id for record_id, _ in found} == set(made[:2])

    await _sealed(looking, 5)  # listing is a look too
    by_eve = await audit.ListBrowses(audit_pb2.ListBrowsesRequest(user="eve"), timeout=DEADLINE_S)
    [(record_id, parts)] = _records(by_eve, await looking.opened(by_eve.checkpoints))
    assert record_id == by_key.browse_id
    assert parts["what"]["method"] == "ListBrowses"
    assert parts["what"]["keys"] == [ITEM]
    assert parts["outcome"] == {"events": 2}
    again = await audit.ListBrowses(audit_pb2.ListBrowsesRequest(user="nobody"), timeout=DEADLINE_S)
    assert list(again.browses) == []


async def test_listings_are_narrowed_by_all_that_is_given(
    looking: Looking, query: TraceStub, audit: AuditStub
) -> None:
    by_ann = [await _look(query, ITEM, "ann"), await _look(query, OTHER, "ann")]
    begin_ms = time.time_ns() // 1_000_000
    by_bob = [await _look(query, ITEM, "bob"), await _look(query, OTHER, "bob")]
    end_ms = time.time_ns() // 1_000_000 + 1
    await _sealed(looking, 4)

    async def ids(**asked: Any) -> list[str]:
        """All pages, one record each."""
        request = audit_pb2.ListBrowsesRequest(page_size=1, **asked)
        found: list[str] = []
        while True:
            answer = await audit.ListBrowses(request, timeout=DEADLINE_S)
            assert len(answer.outcomes) == len(answer.browses)
            found += [each for each, _ in _records(answer, await looking.opened(answer.checkpoints))]
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    assert await ids(key=ITEM, user="ann") == [by_ann[0]]
    assert await ids(key=ITEM, user="eve") == []
    assert set(await ids(key=ITEM)) == {by_ann[0], by_bob[0]}
    assert await ids(key=ITEM, start_ms=begin_ms, end_ms=end_ms) == [by_bob[0]]
    assert await ids(user="ann", start_ms=begin_ms) == []
    assert await ids(user="ann", start_ms=1, end_ms=end_ms) == by_ann[::-1]
    assert await ids(start_ms=begin_ms, end_ms=end_ms) == by_bob[::-1]
    assert await ids(merchant=4, start_ms=1, end_ms=end_ms) == []

    async def answered() -> bool:
        marked = await ids(key=OTHER, outcome=audit_pb2.BROWSE_OUTCOME_ANSWERED, end_ms=end_ms)
        return set(marked) == {by_ann[1], by_bob[1]}

    await eventually(answered, "it is known that the looks were answered")
    assert await ids(key=OTHER, outcome=audit_pb2.BROWSE_OUTCOME_UNKNOWN, end_ms=end_ms) == []
    assert await ids(user="bob", outcome=audit_pb2.BROWSE_OUTCOME_FAILED) == []
    assert set(await ids(user="bob", outcome=audit_pb2.BROWSE_OUTCOME_ANSWERED)) == set(by_bob)


async def test_statistics_count_each_look_once_also_where_the_service_is_killed(
    looking: Looking, query: TraceStub
) -> None:
    begin_ms = time.time_ns() // 1_000_000 - 3_600_000
    for _ in range(6):
        await _look(query, ITEM, "ann")
    looking.daemons["audit"].kill()
    await asyncio.gather(*(_look(query, OTHER, "bob") for _ in range(6)))
    await looking.start("audit")
    async with looking.audit_channel() as channel:
        audit = audit_pb2_grpc.AuditServiceStub(channel)
        asked = audit_pb2.GetStatisticsRequest(
            window=audit_pb2.STATISTICS_WINDOW_MONTH, start_ms=begin_ms - 32 * 86_400_000, purpose="check"
        )

        async def counted() -> bool:
            answer = await audit.GetStatistics(
                asked, timeout=DEADLINE_S, metadata=(("goodstrace-user", "eve"),)
            )
            return sum(_of(each, "Trace") for each in answer.windows) == 12

        await eventually(counted, "twelve looks are counted")
        asked.window = audit_pb2.STATISTICS_WINDOW_HOUR
        asked.start_ms = begin_ms - begin_ms % 3_600_000
        asked.page_size = 1
        windows = []
        while True:
            answer = await audit.GetStatistics(
                asked, timeout=DEADLINE_S, metadata=(("goodstrace-user", "eve"),)
            )
            assert len(answer.browse_id) == 32
            windows += answer.windows
            if not answer.next_page_token:
                break
            asked.page_token = answer.next_page_token
        assert sum(_of(each, "Trace") for each in windows) == 12
        assert max(each.users for each in windows) >= 2
        assert {tally.name for each in windows for tally in each.by_role} == {"anybody"}

        for wrong in (
            audit_pb2.GetStatisticsRequest(start_ms=begin_ms),
            audit_pb2.GetStatisticsRequest(window=audit_pb2.STATISTICS_WINDOW_DAY, page_token="forged"),
            audit_pb2.GetStatisticsRequest(window=audit_pb2.STATISTICS_WINDOW_HOUR, start_ms=1),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await audit.GetStatistics(wrong, timeout=DEADLINE_S)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT

        days = audit_pb2.CountGoodsBrowsesRequest(merchant=4, first_day="2026-11-01", last_day="2026-11-30")
        counts = await audit.CountGoodsBrowses(days, timeout=DEADLINE_S)
        assert (counts.merchant, counts.least_viewers, list(counts.days)) == (4, 5, [])
        days.merchant = 0
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await audit.CountGoodsBrowses(days, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def _of(statistics: audit_pb2.BrowseStatistics, method: str) -> int:
    return sum(tally.looks for tally in statistics.by_method if tally.name == method)


async def test_a_trace_never_shows_who_looked(looking: Looking, query: TraceStub) -> None:
    await asyncio.gather(*(_look(query, ITEM, "ann") for _ in range(6)))
    await _sealed(looking, 6)
    for log, newest in (await looking.reader.newest("browse/")).items():
        request = trace_pb2.TraceRequest(key=ITEM, as_of=[log_pb2.LogSize(log=log, size=newest.size)])
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await query.Trace(request, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    answer = await query.Trace(trace_pb2.TraceRequest(key=ITEM), timeout=DEADLINE_S)
    assert {each.log for each in answer.checkpoints} == {"goods/0", "goods/1"}
    assert answer.total_events == 1


async def test_pages_are_one_list_newest_first(looking: Looking, query: TraceStub, audit: AuditStub) -> None:
    made = set(await asyncio.gather(*(_look(query, ITEM, "ann") for _ in range(25))))
    await _sealed(looking, 25)
    request = audit_pb2.ListBrowsesRequest(user="ann", page_size=10)
    found: list[str] = []
    while True:
        answer = await audit.ListBrowses(request, timeout=DEADLINE_S)
        found += [record_id for record_id, _ in _records(answer, await looking.opened(answer.checkpoints))]
        if len(found) == 10:
            await _look(query, ITEM, "ann")  # does not move the pages to come
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert len(found) == 25
    assert set(found) == made

    for wrong in (
        audit_pb2.ListBrowsesRequest(user="bob", page_token=request.page_token),
        audit_pb2.ListBrowsesRequest(user="ann", page_token="forged"),
        audit_pb2.ListBrowsesRequest(user="ann", key=ITEM, page_token=request.page_token),
        audit_pb2.ListBrowsesRequest(user="ann", start_ms=1, page_token=request.page_token),
        audit_pb2.ListBrowsesRequest(),
        audit_pb2.ListBrowsesRequest(user="u" * 129),
        audit_pb2.ListBrowsesRequest(key="k" * 2049),
        audit_pb2.ListBrowsesRequest(user="ann", page_size=1001),
        audit_pb2.ListBrowsesRequest(user="ann", purpose="p" * 257),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await audit.ListBrowses(wrong, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, wrong


async def test_a_killed_recorder_goes_on_and_seals_every_look_once(
    looking: Looking, query: TraceStub
) -> None:
    made = [await _look(query, ITEM, "ann") for _ in range(10)]
    looking.daemons["audit"].kill()
    made += [await _look(query, ITEM, "ann") for _ in range(10)]
    await looking.start("audit")
    await _sealed(looking, 20)
    assert sorted(await looking.sealed_looks()) == sorted(made)


def _people(looking: Looking) -> People:
    """The vault of the running services."""
    database = beside(looking.mongo.database, f"{looking.names.database}_vault")
    return People(Vault(database, load_ring(looking.key_dir / "vault-keys")))


@pytest.mark.parametrize("by", ["name", "pseudonym", "pseudonym of yesterday"])
async def test_a_blocked_user_is_refused_within_seconds_until_the_block_is_lifted(
    looking: Looking, query: TraceStub, by: str
) -> None:
    blocks = Blocks(looking.mongo.database)
    await _look(query, ITEM, "ann")
    subject = "user:ann"
    if by != "name":
        today, yesterday = await of_today_and_yesterday(_people(looking), "ann")
        subject = f"pseudonym:{today if by == 'pseudonym' else yesterday}"
    await blocks.put(Block(subject, until_ms=2**45, reason="test", by="operator"))

    async def refused() -> str:
        try:
            await _look(query, ITEM, "ann")
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return ""

    said = await eventually(refused, "ann is blocked", 10)
    assert said.startswith("PERMISSION_DENIED: this user is blocked until")
    await _look(query, ITEM, "bob")
    assert await blocks.lift(subject)

    async def answered() -> bool:
        return not await refused()

    await eventually(answered, "ann is answered again", 10)


async def test_health_names_the_service(looking: Looking) -> None:
    async with looking.audit_channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service="goodstrace.audit.v1.AuditService")
        answer = await health.Check(asked, timeout=DEADLINE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def _as_the_vault_has_it(looking: Looking, made: list[WatchedBrowse], name: str) -> set[str]:
    """Let a user of a scenario be one whom the vault of the running services knows; gives the user's pseudonyms."""
    people, real = _people(looking), set[str]()
    for told in made:
        if told.pseudonym == pseudonym(name, told.time_ms):
            told.pseudonym = (await people.person(name, told.time_ms)).pseudonym
            real.add(told.pseudonym)
    return real


async def test_alerts_and_activity_are_shown_and_each_showing_is_recorded(looking: Looking) -> None:
    await provision_watch(looking.mongo.database)
    store = WatchStore(looking.mongo.database, keep_days=30, user_days=2)
    looks = [*background(), *SCENARIOS["scraping"][0](), *SCENARIOS["guessed-password"][0]()]
    made = records(ending_at(looks, end_ms := time.time_ns() // 1_000_000))
    begin_ms = min(told.time_ms for told in made) // 300_000 * 300_000
    real = await _as_the_vault_has_it(looking, made, "scraper")
    world = watched(made)
    await store.put_activities(list(world.activities.values()), 300_000)
    await store.put_activities(list(world.activities.values()), 300_000)
    messages = [alert_values.message(alert) for alert in world.alerts]
    as_eve = (("goodstrace-user", "eve"),)
    async with looking.audit_channel() as channel:
        watch = watch_pb2_grpc.WatchServiceStub(channel)
        stream = watch.StreamAlerts(watch_pb2.StreamAlertsRequest(), timeout=DEADLINE_S, metadata=as_eve)
        first = await stream.read()
        assert not first.alerts
        for message in messages:
            assert await store.put_alert(message, message.SerializeToString())
        heard: list[str] = []
        while len(heard) < len(messages):
            told = await stream.read()
            heard += [alert.id for alert in told.alerts]
            assert bool(told.alerts) is bool(told.browse_id)
        stream.cancel()
        assert sorted(heard) == sorted(message.id for message in messages)
        goes_on = watch.StreamAlerts(watch_pb2.StreamAlertsRequest(cursor=told.cursor), timeout=DEADLINE_S)
        again = await goes_on.read()
        assert {alert.id for alert in again.alerts} <= set(heard)
        goes_on.cancel()

        listed: list[str] = []
        request = watch_pb2.ListAlertsRequest(rule="scraping", user="scraper", page_size=1)
        while True:
            page = await watch.ListAlerts(request, timeout=DEADLINE_S, metadata=as_eve)
            listed += [alert.id for alert in page.alerts]
            assert {alert.subject for alert in page.alerts} <= real
            assert {(each.pseudonym in real, each.name) for each in page.users} <= {(True, "scraper")}
            assert len(page.users) == len(page.alerts)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert sorted(listed) == sorted(each.id for each in messages if each.rule == "scraping")
        assert listed  # in how many windows it is seen depends on the time of day

        asked = watch_pb2.GetActivityRequest(
            about="user", subject="scraper", start_ms=begin_ms, end_ms=end_ms
        )
        told = await watch.GetActivity(asked, timeout=DEADLINE_S, metadata=as_eve)
        assert sum(window.looks for window in told.windows) == 260
        assert {window.subject for window in told.windows} == real
        assert {each.name for each in told.users} == {"scraper"}
        asked = watch_pb2.GetActivityRequest(about="all", start_ms=begin_ms, end_ms=end_ms)
        everybody = (await watch.GetActivity(asked, timeout=DEADLINE_S)).windows
        assert sum(window.looks for window in everybody) == world.looks(Kind.USER)
        assert sum(window.first_seen for window in everybody) == world.first_seen
        at_ms = max(each.start_ms for each in world.activities.values() if each.subject in real) - 1
        busiest = watch_pb2.ListBusiestRequest(about="user", at_ms=at_ms, page_size=1)
        page = await watch.ListBusiest(busiest, timeout=DEADLINE_S)
        assert page.busiest[0].subject in real
        assert "scraper" in {each.name for each in page.users}
        assert page.next_page_token
        busiest.page_token = page.next_page_token
        following = await watch.ListBusiest(busiest, timeout=DEADLINE_S)
        assert following.busiest[0].looks <= page.busiest[-1].looks

        for wrong in (
            watch.GetActivity(watch_pb2.GetActivityRequest(about="shoe size"), timeout=DEADLINE_S),
            watch.GetActivity(watch_pb2.GetActivityRequest(about="user", subject="ann"), timeout=DEADLINE_S),
            watch.ListBusiest(watch_pb2.ListBusiestRequest(about="all"), timeout=DEADLINE_S),
            watch.ListAlerts(watch_pb2.ListAlertsRequest(page_token="forged"), timeout=DEADLINE_S),
            watch.ListAlerts(watch_pb2.ListAlertsRequest(user="ann", subject="x"), timeout=DEADLINE_S),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await wrong
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    recorded = await looking.looks()
    methods = {parts["what"]["method"] for parts in recorded if parts["who"]["user"] == "eve"}
    assert methods == {"StreamAlerts", "ListAlerts", "GetActivity"}
