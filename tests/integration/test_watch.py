"""Workers of the watch on real Kafka and a real store: counts are exact, whoever is killed and wherever partitions go."""

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.processes import Daemon
from services.audit.watch import alerts as alert_values
from services.audit.watch.command import watch
from services.audit.watch.progress import Progress
from services.audit.watch.store import ACTIVITY, ALERTS, WatchStore, forget
from services.audit.watch_names import forget_user
from services.runtime import topics
from services.runtime.access.networks import network_of
from services.runtime.blocking import BLOCKS, Block, BlockedError, Blocks, RememberedBlocks
from services.runtime.consumer_groups import WATCH
from services.runtime.errors import UnavailableError
from tests.deadlines import DEADLINE_S
from tests.integration.looking import eventually
from tests.integration.watching import PARTITIONS, Watching, watching
from tests.unit.watch_world import watched
from tests.watch_scenarios import (
    BEGIN_MS,
    DAY_MS,
    HOUR_MS,
    SCENARIOS,
    Look,
    Marks,
    background,
    ending_at,
    hours_later,
    look,
    pseudonym,
    records,
    serial,
)

__all__ = ["watching"]  # the fixture

RECORDS, KILLS = 6000, 5


def _looks(count: int, users: int = 50) -> list[Look]:
    drawn = random.Random(7)
    made = [
        look(nth * 100, f"user-{drawn.randrange(users)}", serial(drawn.randrange(60)), network="")
        for nth in range(count)
    ]
    return ending_at(made, _now_ms())


def by_pseudonym(looks: Sequence[Look]) -> Counter[str]:
    """Count looks by who their users are to the watch."""
    return Counter(each.pseudonym for each in records(looks))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_a_worker_killed_five_times_mid_window_counts_exactly(
    watching: Watching, tell: Callable[[str], None]
) -> None:
    await killed_five_times(watching, RECORDS, tell)


async def killed_five_times(watching: Watching, count: int, tell: Callable[[str], None]) -> None:
    """Watch so many records while the worker is killed again and again, and compare what it counted."""
    looks, part = _looks(count), count // (KILLS + 1)
    made = records(looks)
    daemon = watching.worker("watch", instance="watch-0")
    killed_at: list[int] = []
    for nth in range(KILLS):
        await watching.browse(made[nth * part : (nth + 1) * part])
        before = await watching.counted("all")
        daemon.start()

        async def goes_on(before: int = before) -> bool:
            daemon.start()  # as a supervisor does, where it has ended to read again
            return await watching.counted("all") > before

        await eventually(goes_on, "the worker goes on", DEADLINE_S)
        daemon.kill()
        killed_at.append(await watching.counted("all"))
    await watching.browse(made[KILLS * part :])
    assert killed_at[-1] < count, "it was never killed in the middle"
    daemon.start()

    async def all_counted() -> bool:
        daemon.start()
        return await watching.counted("user") >= count

    await eventually(all_counted, "all records are counted", DEADLINE_S)
    await asyncio.sleep(1.5)  # what would be counted twice would come now
    assert await watching.by_subject("user") == by_pseudonym(looks)
    assert sum((await watching.by_subject("all")).values()) == count
    assert await watching.counted("all", "first_seen") == 50
    tell(f"watch: {count:,} records, killed at {killed_at}: counted exactly")


async def test_a_worker_that_is_killed_alone_is_started_again_by_its_supervisor(watching: Watching) -> None:
    looks = _looks(1500)
    made = records(looks)
    daemon = watching.worker("watch", instance="watch-0")
    await watching.browse(made[:700])
    daemon.start()
    await watching.ready("watch")

    async def counted(least: int) -> bool:
        return await watching.counted("user") >= least

    await eventually(lambda: counted(1), "the worker counts", DEADLINE_S)
    supervisor = daemon.process
    assert supervisor is not None
    [killed] = _children(supervisor.pid)
    os.kill(killed, signal.SIGKILL)
    await watching.browse(made[700:])
    await eventually(lambda: counted(1500), "the next one goes on", DEADLINE_S)
    await watching.ready("watch")
    assert daemon.process == supervisor
    assert _children(supervisor.pid) != [killed]
    assert await watching.by_subject("user") == by_pseudonym(looks)
    metrics = await asyncio.to_thread(watching.metrics, "watch")
    assert metrics["goodstrace_watch_restarts_total"] >= 1


async def test_how_much_waits_is_told_whether_or_not_somebody_reads(watching: Watching) -> None:
    made = records(_looks(300))
    await watching.browse(made)
    names, bootstrap = watching.names, watching.stack.kafka_bootstrap_servers
    progress = Progress(bootstrap, names.topic(WATCH))
    topic = names.topic(topics.BROWSE_WATCHED)

    async def waiting() -> int | None:
        with contextlib.suppress(
            UnavailableError
        ):  # a broker that has just started finds its coordinators first
            return await asyncio.to_thread(progress.behind, topic, range(PARTITIONS))
        return None

    async def all_wait() -> bool:
        return await waiting() == 300

    await eventually(all_wait, "all is told of, though nobody reads", DEADLINE_S)
    watching.worker("watch", instance="watch-0").start()

    async def none_waits() -> bool:
        return await waiting() == 0 and watching.lag("watch", topics.BROWSE_WATCHED) == 0

    await watching.ready("watch")
    await eventually(none_waits, "all is committed", DEADLINE_S)
    await watching.browse(made)
    await eventually(none_waits, "what came meanwhile too", DEADLINE_S)
    progress.close()


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_partitions_go_to_another_worker_and_state_goes_with_them(watching: Watching) -> None:
    looks = _looks(2400)
    made = records(looks)
    first, second = watching.worker("first"), watching.worker("second")
    await watching.browse(made[:800])

    async def counted(least: int, *workers: Daemon) -> bool:
        for each in workers:
            each.start()  # as a supervisor does, where one has ended to read again
        return await watching.counted("user") >= least

    await eventually(lambda: counted(500, first), "the first worker counts", DEADLINE_S)
    second.start()
    await watching.browse(made[800:1600])
    await eventually(lambda: counted(1600, first, second), "both count", DEADLINE_S)
    await watching.ready("second")
    await watching.ready("first")
    first.kill()  # its table is gone: its partitions' states come from the changelog, after its session
    await watching.browse(made[1600:])
    await eventually(lambda: counted(2400, second), "the second worker has all partitions", DEADLINE_S)
    await asyncio.sleep(1.5)
    assert await watching.by_subject("user") == by_pseudonym(looks)


async def test_alerts_are_kept_and_block_until_an_operator_lifts_them(
    watching: Watching, tell: Callable[[str], None]
) -> None:
    looks = [*background(), *(each for attack, _ in SCENARIOS.values() for each in attack())]
    # Some hours ago, so that all windows are over: some rules wait for that.
    looks = hours_later(looks, _now_ms() - 2 * HOUR_MS)
    made = records(looks)
    world = watched(made)
    assert {alert.rule for alert in world.alerts} >= set(SCENARIOS)
    expected = {alert.id.hex() for alert in world.alerts}
    await watching.browse(made)
    daemon = watching.worker("watch", instance="watch-0")
    daemon.start()

    async def all_told() -> bool:
        return len(await watching.alerts()) >= len(expected)

    await eventually(all_told, "all alerts are kept", DEADLINE_S)
    assert {alert["_id"] for alert in await watching.alerts()} == expected
    daemon.stop()
    await _names_nobody(watching, looks)

    blocks = Blocks(watching.mongo.database)
    await blocks.put(Block(subject="user:ann", until_ms=2**45))
    assert [each.subject for each in await blocks.in_force()] == [
        "user:ann"
    ]  # those of the watch ended long ago
    tell(f"watch: {len(expected)} alerts of {len(made):,} records, the same as without Kafka")


async def _names_nobody(watching: Watching, looks: Sequence[Look]) -> None:
    """See that nothing of what the watch keeps has a user's name in it."""
    names = {each.browse.user.encode() for each in looks if not isinstance(each.browse, Marks)}
    kept: dict[str, list[bytes]] = {}
    for topic in (
        topics.BROWSE_WATCHED,
        topics.BROWSE_OBSERVED,
        topics.BROWSE_COUNTED,
        topics.BROWSE_ALERTS,
    ):
        kept[topic] = await watching.values(topic)
    for name in (ALERTS, ACTIVITY, BLOCKS):
        kept[name] = [repr(row).encode() async for row in watching.mongo.database[name].find({})]
    files = [each for each in watching.folder.rglob("*") if each.is_file() and each.name != "vault-keys"]
    kept["files"] = [each.read_bytes() for each in files]
    known = next(
        pseudonym("scraper", each.time_ms) for each in looks if getattr(each.browse, "user", "") == "scraper"
    )
    assert [place for place, values in kept.items() if not values] in ([], [BLOCKS])  # those are over
    for place, values in kept.items():
        assert not [name for name in names for value in values if name in value], place
    for place in (topics.BROWSE_WATCHED, topics.BROWSE_OBSERVED, topics.BROWSE_COUNTED, ALERTS):
        assert any(known.encode() in value for value in kept[place]), (
            place
        )  # what is searched is what there is


async def test_a_block_holds_ends_and_is_lifted(watching: Watching) -> None:
    made = watched(records(list(SCENARIOS["guessing-network"][0]())))
    [found, *_] = [alert for alert in made.alerts if alert.rule == "guessing-network"]
    message = alert_values.message(found)
    message.blocked_until_ms = 2**45
    store = WatchStore(watching.mongo.database, keep_days=30, user_days=2)
    blocks = Blocks(watching.mongo.database)
    remembered = RememberedBlocks(blocks, pseudonyms=_lately, fresh_s=0)
    await remembered.check(user="ann", network="203.0.113.0")
    assert await store.put_alert(message, message.SerializeToString())
    assert not await store.put_alert(message, message.SerializeToString())
    with pytest.raises(BlockedError, match="this network is blocked until"):
        await remembered.check(user="ann", network="203.0.113.0")
    await remembered.check(user="ann", network="203.0.114.0")

    assert await blocks.lift("network:203.0.113.0")
    assert not await blocks.lift("network:203.0.113.0")
    await remembered.check(user="ann", network="203.0.113.0")
    assert not await store.put_alert(message, message.SerializeToString())
    message.id = "another"
    assert await store.put_alert(message, message.SerializeToString())
    await remembered.check(user="ann", network="203.0.113.0")  # the operator has lifted it for an hour
    assert await blocks.in_force() == []


async def _lately(name: str) -> list[str]:
    return [pseudonym(name, BEGIN_MS)]


async def test_a_user_is_blocked_without_being_named_until_an_operator_lifts_it(watching: Watching) -> None:
    made = watched(records(list(SCENARIOS["scraping"][0]())))
    message = alert_values.message(made.alerts[0])
    assert message.subject == pseudonym("scraper", BEGIN_MS)
    message.blocked_until_ms = 2**45
    store = WatchStore(watching.mongo.database, keep_days=30, user_days=2)
    blocks = Blocks(watching.mongo.database)
    assert await store.put_alert(message, message.SerializeToString())
    assert [each.subject for each in await blocks.in_force()] == [f"pseudonym:{message.subject}"]
    remembered = RememberedBlocks(blocks, pseudonyms=_lately, fresh_s=0)
    await remembered.check(user="bob", network="192.0.2.0")
    with pytest.raises(BlockedError, match="this user is blocked until"):
        await remembered.check(user="scraper", network="192.0.2.0")
    assert await blocks.lift(f"pseudonym:{message.subject}")
    await remembered.check(user="scraper", network="192.0.2.0")

    anonymous = alert_values.message(made.alerts[0])
    anonymous.id, anonymous.subject, anonymous.blocked_until_ms = "another", "anonymous", 2**45
    assert await store.put_alert(anonymous, anonymous.SerializeToString())
    assert await blocks.in_force() == []  # nobody in particular is never blocked


async def test_what_is_of_users_goes_with_their_pseudonyms(watching: Watching) -> None:
    """By itself after the days that the vault keeps, or when a user is erased; all else is as before."""
    looks = [*background(), *SCENARIOS["scraping"][0](), *SCENARIOS["copied-serial"][0]()]
    made = watched(records(ending_at(looks, _now_ms())))
    store = WatchStore(watching.mongo.database, keep_days=30, user_days=2)
    await store.put_activities(list(made.activities.values()), 300_000)
    for alert in made.alerts:
        message = alert_values.message(alert)
        message.blocked_until_ms = 2**45
        await store.put_alert(message, message.SerializeToString())
    database = watching.mongo.database
    for name, end in ((ALERTS, "end_ms"), (ACTIVITY, "start_ms")):
        async for row in database[name].find({}):
            days = 2 if row["about"] in ("user", "series") else 30
            assert row["expires"].timestamp() * 1000 == row[end] + days * DAY_MS
    [scraper, *_] = {alert.subject for alert in made.alerts if alert.rule == "scraping"}
    people, blocks = watching.people(), Blocks(database)
    known = [await people.pseudonym("bob", _now_ms() - days * DAY_MS) for days in range(3)]
    for subject in ("user:bob", *(f"pseudonym:{each}" for each in known)):
        await blocks.put(Block(subject, until_ms=2**45))
    assert await forget_user(database, people, "bob", 2) == 4
    before = [await database[name].count_documents({}) for name in (ALERTS, ACTIVITY, BLOCKS)]
    gone = await forget(database, [scraper, "0" * 24])
    left = [await database[name].count_documents({}) for name in (ALERTS, ACTIVITY, BLOCKS)]
    assert gone == sum(before) - sum(left) > 3
    for name in (ALERTS, ACTIVITY, BLOCKS):
        assert [row async for row in database[name].find({}) if scraper in str(row)] == []
    assert left[0] > 0
    assert "copied-serial" in {row["rule"] for row in await watching.alerts()}


async def test_an_operator_blocks_lists_and_lifts_by_commands(watching: Watching) -> None:
    environment = {name: value for name, value in watching.environment.items() if "WATCH" not in name}

    async def run(*arguments: str) -> Any:
        done = await asyncio.to_thread(CliRunner().invoke, watch, [*arguments, "--json"], env=environment)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    added = await run("blocks", "add", "user:ann", "--hours", "2", "--reason", "asked by security")
    assert await run("blocks", "list") == [added]
    assert added["by"].startswith("operator ")
    assert await run("blocks", "lift", "user:ann") == {"subject": "user:ann", "was_blocked": True}
    assert await run("blocks", "list") == []
    for named in ("203.0.113.77", "203.0.113.0/24"):
        assert (await run("blocks", "add", f"network:{named}"))["subject"] == "network:203.0.113.0/24"
        remembered = RememberedBlocks(Blocks(watching.mongo.database), pseudonyms=_lately)
        with pytest.raises(BlockedError, match="this network is blocked"):
            await remembered.check(user="cid", network=network_of("203.0.113.5"))
        assert (await run("blocks", "lift", f"network:{named}"))["was_blocked"]
    now_ms = _now_ms()
    known = (await watching.people().person("bob", now_ms)).pseudonym
    blocks = Blocks(watching.mongo.database)
    by_the_watch = Block(f"pseudonym:{known}", now_ms + HOUR_MS, reason="scraping", by="watch")
    await blocks.put(by_the_watch, only_unless_lifted=True)
    [listed] = await run("blocks", "list")
    assert (listed["subject"], "user" in listed) == (f"pseudonym:{known}", False)
    [named] = await run("blocks", "list", "--names")
    assert named["user"] == "bob"
    assert await run("blocks", "lift", "user:bob") == {"subject": "user:bob", "was_blocked": True}
    assert await run("blocks", "list") == []
    tomorrow = await watching.people().pseudonym("bob", now_ms + HOUR_MS - 1000)
    for each in (known, tomorrow):
        again = Block(f"pseudonym:{each}", now_ms + HOUR_MS, reason="scraping", by="watch")
        await blocks.put(again, only_unless_lifted=True)
    assert await run("blocks", "list") == []
    refused = await asyncio.to_thread(
        CliRunner().invoke, watch, ["blocks", "add", "shoe:44"], env=environment
    )
    assert refused.exit_code == 1
    assert "user:NAME, network:NETWORK" in refused.output
