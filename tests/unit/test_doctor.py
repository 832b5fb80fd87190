"""The checks of `goodstrace doctor`: functions of what was seen; and how they are run and shown."""

import asyncio
import importlib
import json
import re
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic_settings import BaseSettings

from goodstrace import block as blocks
from goodstrace.block import BlockHeader, KafkaRange
from services.doctor import addresses, running
from services.doctor.checks import clocks, connections, keys, lag, logs, store, topics
from services.doctor.checks.clocks import ClockSeen
from services.doctor.checks.connections import ServiceSeen, WitnessSeen
from services.doctor.checks.keys import CertificateSeen, FileSeen, LogKeySeen
from services.doctor.checks.lag import GroupSeen
from services.doctor.checks.logs import LATE_S, FsckSeen, LogSeen
from services.doctor.checks.store import IndexWanted, RoomSeen
from services.doctor.checks.topics import TopicSeen
from services.doctor.command import doctor
from services.doctor.looks import SETTINGS
from services.doctor.report import Report
from services.doctor.seeing import files
from services.doctor.seeing import store as seen_store
from services.doctor.seeing.brokers import Brokers
from services.doctor.values import Checked, Finding, Level, failed, ok, warning
from services.runtime.consumer_groups import committed_each, consuming
from services.runtime.errors import UnavailableError
from services.runtime.settings import KafkaSettings, load
from services.runtime.topics import declared
from services.sealing.values import Head, LogInfo, StoredBlock, StoredCheckpoint

ROOT = Path(__file__).resolve().parents[2]
WANTED = declared("", 4, 2, 3)
THERE = {each.name: TopicSeen(each.name, each.partitions, 3, 3, 0, each.config()) for each in WANTED}
PLACE = ("goods.stored", 1)
GROUP = GroupSeen("collector.projector", 1, {PLACE: 5}, {PLACE: 9}, {})
LOG = LogSeen("goods/0", sealed=10, signed=10, published=10, sealed_s=600, waiting=0)
NO_DATABASE: Final[Any] = None
KEY = LogKeySeen("goods/0", "new", ("old",), ("new",), "new")


def levels(found: list[Finding]) -> list[str]:
    return [str(each.level) for each in found]


def changed(name: str, **fields: object) -> list[Finding]:
    there = {**THERE, name: msgspec.structs.replace(THERE[name], **fields)}
    return topics.check_topics(WANTED, there)


def test_topics() -> None:
    assert levels(topics.check_topics(WANTED, THERE)) == ["ok"]
    [all_missing] = topics.check_topics(WANTED, {})
    assert "GOODSTRACE_TOPIC_PREFIX" in all_missing.do
    [missing] = topics.check_topics(WANTED, {k: v for k, v in THERE.items() if k != "goods.stored"})
    assert missing.level is Level.FAILED
    assert "goods.stored" in missing.seen
    [fewer] = changed("goods.stored", partitions=2)
    assert "goodstrace grow" in fewer.do
    [more] = changed("goods.stored", partitions=8)
    assert "GOODSTRACE_PARTITIONS" in more.do
    assert levels(changed("goods.stored", leaderless=1)) == ["failed"]
    assert levels(changed("goods.stored", in_sync=2)) == ["warning"]
    assert levels(changed("goods.stored", replicas=1, in_sync=1)) == ["warning"]
    kept = THERE["goods.stored"].config
    [loses] = changed("goods.stored", config={**kept, "retention.ms": "604800000"})
    assert (loses.level, "retention.ms=-1" in loses.do) == (Level.FAILED, True)
    assert levels(changed("goods.stored", config={**kept, "min.insync.replicas": "1"})) == ["warning"]
    watched = THERE["browse.watched"].config
    assert levels(changed("browse.watched", config={**watched, "retention.ms": "1"})) == ["warning"]


def test_services_and_witnesses() -> None:
    assert levels(connections.check_services([])) == ["warning"]
    seen = [
        ServiceSeen("a", "u"),
        ServiceSeen("b", "u", "kafka: away"),
        ServiceSeen("c", "u", away="refused"),
    ]
    assert levels(connections.check_services(seen)) == ["ok", "failed", "failed"]
    assert levels(connections.check_witnesses([], quorum_left=True)) == ["warning"]
    away = [WitnessSeen("w", "u"), WitnessSeen("v", "u", "refused")]
    assert levels(connections.check_witnesses(away, quorum_left=True)) == ["ok", "warning"]
    assert levels(connections.check_witnesses(away, quorum_left=False)) == ["ok", "warning", "failed"]


def test_indexes_and_room() -> None:
    wanted = {("db", "packs"): [IndexWanted("log_first", (("log", 1), ("first", 1)))]}
    there = {("db", "packs"): {"log_first": IndexWanted("log_first", (("log", 1), ("first", 1)))}}
    assert levels(store.check_indexes(wanted, there)) == ["ok"]
    assert levels(store.check_indexes(wanted, {})) == ["failed"]
    other = {("db", "packs"): {"log_first": IndexWanted("log_first", (("log", 1),))}}
    assert levels(store.check_indexes(wanted, other)) == ["failed"]
    rooms = [RoomSeen("a", 50, 100), RoomSeen("b", 10, 100), RoomSeen("c", 1, 100), RoomSeen("none", 0, 0)]
    assert levels(store.check_room(rooms)) == ["ok", "warning", "failed"]


@pytest.mark.parametrize(
    ("ahead_s", "is_past", "level"),
    [
        (0.5, False, "ok"),
        (-0.5, False, "ok"),
        (5, False, "warning"),
        (-5, False, "warning"),
        (60, False, "failed"),
        (-90_000, True, "ok"),
        (5, True, "warning"),
        (60, True, "failed"),
    ],
)
def test_clocks(ahead_s: float, is_past: bool, level: str) -> None:
    assert levels(clocks.check_clocks([ClockSeen("x", ahead_s, is_past)])) == [level]


def test_keys() -> None:
    assert levels(keys.check_files([FileSeen("a", "x", 0o600), FileSeen("b", "x", 0o700)])) == ["ok"]
    opened = FileSeen("a", "x", 0o640, is_open=True)
    assert levels(keys.check_files([opened, FileSeen("b", "x", None)])) == ["failed"] * 2
    assert levels(keys.check_log_keys([])) == ["warning"]
    assert levels(keys.check_log_keys([KEY])) == ["ok"]
    for fields, level in (
        ({"held": ("other",)}, "failed"),
        ({"held": (), "problem": "not here"}, "failed"),
        ({"held": ("new", "next")}, "ok"),
        ({"published": "foreign"}, "failed"),
        ({"published": "old"}, "warning"),
        ({"published": ""}, "warning"),
    ):
        assert levels(keys.check_log_keys([msgspec.structs.replace(KEY, **fields)])) == [level], fields
    assert levels(keys.check_certificates([])) == ["ok"]
    seen = [
        CertificateSeen("a", 90),
        CertificateSeen("b", 3),
        CertificateSeen("c", -3),
        CertificateSeen("d", 9, "bad"),
    ]
    assert levels(keys.check_certificates(seen[:1])) == ["ok"]
    assert levels(keys.check_certificates(seen)) == ["warning", "failed", "failed"]


def test_secrets_that_are_mounted_have_the_modes_of_their_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor goes by the rule of who reads the keys: Kubernetes gives a Secret to a group, in a folder that nobody can write."""
    folder = tmp_path / "keys"
    folder.mkdir(0o700)
    key = folder / "goods-0.key"
    key.write_text("secret")
    key.chmod(0o440)
    assert levels(keys.check_files(files.private_keys(folder))) == ["failed"]
    folder.chmod(0o755)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert levels(keys.check_files(files.private_keys(folder))) == ["ok"]
    key.chmod(0o444)
    assert levels(keys.check_files(files.private_keys(folder))) == ["failed"]


def lagging(**fields: object) -> list[str]:
    group = msgspec.structs.replace(GROUP, **fields)
    return levels(lag.check_lag([group], moved_by_others=(), expected=()))


def test_lag() -> None:
    assert lagging() == ["ok"]
    assert lagging(waiting={PLACE: 3}) == ["ok"]
    assert lagging(waiting={PLACE: 30_000}) == ["warning"]
    assert lagging(waiting={PLACE: 3}, before={PLACE: 9}) == ["warning"]  # it stands
    assert lagging(members=0) == ["warning"]
    assert lagging(members=0, waiting={PLACE: 3}) == ["failed"]
    inner = msgspec.structs.replace(GROUP, members=0)
    assert levels(lag.check_lag([inner], moved_by_others=[GROUP.name], expected=())) == ["ok"]
    assert levels(lag.check_lag([], moved_by_others=(), expected=["x"])) == ["warning"]
    assert levels(lag.check_lag([], moved_by_others=(), expected=())) == ["ok"]


def test_groups_of_others_are_no_fault() -> None:
    found = lag.check_lag([GROUP], moved_by_others=(), expected=(), others=["bi-export", "lag-exporter"])
    assert levels(found) == ["ok", "ok"]
    assert "2 groups of others are not judged: bi-export, lag-exporter" in found[-1].seen


class _Groups:
    """Brokers with these groups; each of them has read all of one partition, and nobody reads on."""

    def __init__(self, *names: str) -> None:
        self.names, self.asked = names, list[str]()

    def list_consumer_groups(self, **_: object) -> Future[object]:
        return done(SimpleNamespace(valid=[SimpleNamespace(group_id=name) for name in self.names]))

    def list_consumer_group_offsets(
        self, groups: list[ConsumerGroupTopicPartitions], **_: object
    ) -> dict[str, Future[object]]:
        [name] = [each.group_id for each in groups]
        self.asked.append(name)
        return {name: done(SimpleNamespace(topic_partitions=[TopicPartition(*PLACE, 9)]))}

    def describe_consumer_groups(self, names: list[str], **_: object) -> dict[str, Future[object]]:
        return {name: done(SimpleNamespace(members=[])) for name in names}


def done(value: object) -> Future[object]:
    future = Future[object]()
    future.set_result(value)
    return future


def test_only_our_groups_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    there = _Groups("collector.projector", "collector.store.rerun", "bi-export", "browse.watch")
    monkeypatch.setattr("services.runtime.kafka.admin_client", lambda *_, **__: there)
    ours = ["collector.states", *consuming(load(KafkaSettings))]
    groups, others = Brokers("nowhere:1", 1.0).groups({PLACE: 9}, ours)
    assert [each.name for each in groups] == ["browse.watch", "collector.projector"]
    assert others == ["bi-export", "collector.store.rerun"]
    assert set(there.asked) == {"browse.watch", "collector.projector"}


def test_groups_are_asked_together() -> None:
    """Each answer comes only once all groups were asked for."""
    answers: dict[str, Future[object]] = {}

    class Together:
        def list_consumer_group_offsets(
            self, groups: list[ConsumerGroupTopicPartitions], **_: object
        ) -> dict[str, Future[object]]:
            [name] = [each.group_id for each in groups]
            answers[name] = Future()
            if len(answers) == 3:
                for each in answers.values():
                    each.set_result(SimpleNamespace(topic_partitions=[TopicPartition(*PLACE, 9)]))
            return {name: answers[name]}

    found = committed_each(cast(AdminClient, Together()), ["a", "b", "c"], 0.5)
    assert found == {name: {PLACE: 9} for name in "abc"}


def test_logs() -> None:
    assert levels(logs.check_logs([])) == ["warning"]
    assert levels(logs.check_logs([LOG])) == ["ok"]
    late = LATE_S + 1
    for behind, age in (
        ({"waiting": 4}, "waiting_s"),
        ({"sealed": 12}, "unsigned_s"),
        ({"sealed": 12, "signed": 12}, "unpublished_s"),
    ):
        for age_s, level in ((late, "failed"), (1.0, "ok"), (None, "failed")):
            seen = msgspec.structs.replace(LOG, **behind, **{age: age_s})
            assert levels(logs.check_logs([seen])) == [level], (behind, age_s)


def test_logs_that_go_on_but_are_not_published() -> None:
    """Under load the newest block is always about a second old: what counts is the oldest entry that is held up."""
    stuck = LogSeen("goods/0", 500_000, 500_000, 1000, sealed_s=1.0, unpublished_s=3600, waiting=0)
    [found] = logs.check_logs([stuck])
    assert (found.level, "the oldest for 60 min" in found.seen) == (Level.FAILED, True)
    [unknown] = logs.check_logs([LogSeen("goods/0", 500_000, 500_000, 1000, sealed_s=1.0, waiting=0)])
    assert unknown.level is Level.FAILED
    [unsigned] = logs.check_logs([LogSeen("goods/0", 50, 10, 10, sealed_s=1.0, unsigned_s=90.0)])
    assert unsigned.level is Level.FAILED
    [slow] = logs.check_logs([LogSeen("goods/0", 50, 50, 50, sealed_s=1.0, waiting=9, waiting_s=90.0)])
    assert (slow.level, "it moves" in slow.seen) == (Level.WARNING, True)


def test_all_is_published_only_where_it_is() -> None:
    [well] = logs.check_logs([LOG])
    assert "all signed and published" in well.seen
    just = msgspec.structs.replace(LOG, sealed=12, signed=12, sealed_s=1.0, unpublished_s=1.0)
    [going_on] = logs.check_logs([LOG, just])
    assert going_on.level is Level.OK
    assert "20 of 22 entries published" in going_on.seen
    assert "all" not in going_on.seen


async def test_how_old_is_what_is_not_signed_or_published_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten blocks of three entries, one every 100 s, the newest just now."""
    now = time.time()
    store = _Blocks([_block(height, now - 100 * (9 - height)) for height in range(10)], signed=7, published=2)
    monkeypatch.setattr(seen_store, "MongoBlockStore", lambda _: store)
    [seen] = await seen_store.logs_seen(NO_DATABASE, None)
    assert (seen.sealed, seen.signed, seen.published) == (30, 24, 9)
    ages = (seen.sealed_s, seen.unsigned_s, seen.unpublished_s)
    assert [round(each or -1, -1) for each in ages] == [0, 100, 600]  # of the blocks 9, 8 and 3
    for published, age_s in ((0, 800), (6, 200)):
        store.published = published
        [seen] = await seen_store.logs_seen(NO_DATABASE, None)
        assert round(seen.unpublished_s or -1, -1) == age_s
    store.published = store.signed = 9
    [seen] = await seen_store.logs_seen(NO_DATABASE, None)
    assert (seen.unsigned_s, seen.unpublished_s) == (None, None)


def _block(height: int, time_s: float) -> StoredBlock:
    first = 3 * height
    header = BlockHeader(
        log="goods/0",
        height=height,
        time=int(time_s * 1000),
        previous="00" * 32,
        first=first,
        count=3,
        size=first + 3,
        root="00" * 32,
        kafka=KafkaRange("cluster", first, first + 3, 0, "goods.stored", "id"),
    )
    return StoredBlock("goods/0", height, first, first + 3, blocks.encode(header), b"", b"", ())


class _Blocks:
    """A store of one log, signed and published up to the ends of blocks."""

    def __init__(self, sealed: list[StoredBlock], *, signed: int, published: int) -> None:
        self.sealed, self.signed, self.published = sealed, signed, published

    async def logs(self) -> list[LogInfo]:
        return [LogInfo("goods/0", "origin", "vkey")]

    async def heads(self, _: list[str]) -> dict[str, Head]:
        return {"goods/0": Head(self.signed, self._until(self.signed), self._until(self.published))}

    async def block(self, _: str, height: int) -> StoredBlock | None:
        return self.sealed[height] if height < len(self.sealed) else None

    def _until(self, height: int) -> StoredCheckpoint:
        return StoredCheckpoint("goods/0", self.sealed[height].size, bytes(32), "")


def test_witnesses_of_what_is_published() -> None:
    cosigned = msgspec.structs.replace(LOG, cosigned_s=4.0)
    assert levels(logs.check_cosignatures([cosigned])) == ["ok"]
    assert levels(logs.check_cosignatures([msgspec.structs.replace(LOG, missing=("w",))])) == ["warning"]


def test_fsck_and_backup() -> None:
    sound, old = FsckSeen("goods/0", 60, 10, {}), FsckSeen("goods/0", 9 * 86_400, 10, {})
    assert levels(logs.check_fsck(["goods/0"], [sound])) == ["ok"]
    assert levels(logs.check_fsck(["goods/0"], [old])) == ["warning"]
    assert levels(logs.check_fsck(["goods/0", "root"], [sound])) == ["warning"]
    assert levels(logs.check_fsck(["goods/0"], [FsckSeen("goods/0", 60, 10, {"entry": 2})])) == ["failed"]
    assert [levels(logs.check_backup(each)) for each in (None, 60.0, 86_400.0 * 3)] == [
        ["warning"],
        ["ok"],
        ["warning"],
    ]

    assert levels(logs.check_backup(60.0, ["goods/0"])) == ["warning"]


async def test_one_that_fails_or_hangs_stops_no_other() -> None:
    async def hangs() -> list[Finding]:
        await asyncio.sleep(60)
        return []

    async def away() -> list[Finding]:
        raise UnavailableError("Kafka: refused")

    async def at_fault() -> list[Finding]:
        raise KeyError("x")

    async def well() -> list[Finding]:
        return [ok("fine")]

    found = await running.run({"a": hangs, "b": away, "c": at_fault, "d": well}, 0.05)
    assert [(each.name, str(each.level)) for each in found] == [
        ("a", "failed"),
        ("b", "failed"),
        ("c", "failed"),
        ("d", "ok"),
    ]
    assert all(each.findings[0].do for each in found[:3])


async def test_what_follows_from_one_outage_leads_to_it() -> None:
    async def away() -> list[Finding]:
        raise UnavailableError("Kafka: refused")

    async def other() -> list[Finding]:
        return [failed("another", "mend it", "docs/doctor.md")]

    kafka, topics_found, rest = await running.run({"kafka": away, "topics": away, "logs": other}, 5)
    assert "mend the connection" in kafka.findings[0].do
    assert topics_found.findings[0].do == "mend kafka first, see above"
    assert rest.findings[0].do == "mend it"


def test_a_setting_that_is_no_more_ends_in_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_QUERY_AUTH_FRESH_S", "1")
    arguments = [
        "--json",
        "--only",
        "services",
        "--only",
        "clocks",
        "--service",
        "ledger=https://127.0.0.1:1",
    ]
    done = CliRunner().invoke(doctor, arguments)
    assert done.exit_code == 1
    told = json.loads(done.stdout)["checks"]
    assert [each["check"] for each in told] == ["settings", "services", "clocks"]
    [finding] = told[0]["findings"]  # once, though every group of settings is refused for it
    assert "GOODSTRACE_ACCESS_FRESH_S" in finding["seen"]


def test_every_class_of_settings_is_read() -> None:
    """All but those that others derive from, and those of `replay`, which are no service's."""
    parents = {base for kind in SETTINGS for base in kind.__mro__[1:]} - set(SETTINGS)
    for path in (ROOT / "services").rglob("*.py"):
        settings = re.search(r"^class \w+\(\w*Settings\):", path.read_text(), re.MULTILINE)
        if settings and "replay" not in path.parts:
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    known, left = set[type]([BaseSettings]), [BaseSettings]
    while left:
        below = [each for each in left.pop().__subclasses__() if each not in known]
        known.update(below)
        left.extend(below)
    ours = {each for each in known if each.__module__.startswith("services.")}
    assert {each.__name__ for each in ours - parents - set(SETTINGS)} <= {"VersionedKafka"}


@pytest.mark.parametrize("yes", ["1", "true", "True", "yes", "on"])
def test_services_are_where_their_own_settings_say(monkeypatch: pytest.MonkeyPatch, yes: str) -> None:
    monkeypatch.delenv("GOODSTRACE_QUERY_WEB_SERVICES", raising=False)
    for name, value in {
        "TLS_METRICS": yes,
        "TLS_CERT_FILE": "a",
        "TLS_KEY_FILE": "b",
        "LEDGER_METRICS_PORT": "9900",
        "WATCH_METRICS_PORT": "0",
        "HOST": "10.0.0.7",
    }.items():
        monkeypatch.setenv(f"GOODSTRACE_{name}", value)
    settings, _ = running.read_settings(SETTINGS)
    assert addresses.services([], settings) == [
        ("collector", "https://10.0.0.7:9101"),
        ("ledger", "https://10.0.0.7:9900"),
        ("query", "https://10.0.0.7:9103"),
        ("audit", "https://10.0.0.7:9104"),
    ]
    assert addresses.services(["ledger=http://x:1/"], settings) == [("ledger", "http://x:1")]
    assert addresses.services([], [])[1] == ("ledger", "http://127.0.0.1:9102")
    monkeypatch.setenv("GOODSTRACE_HOST", "0.0.0.0")
    monkeypatch.setenv("GOODSTRACE_TLS_METRICS", "off")
    settings, _ = running.read_settings(SETTINGS)
    assert addresses.services([], settings)[0] == ("collector", "http://127.0.0.1:9101")
    monkeypatch.setenv("GOODSTRACE_QUERY_WEB_SERVICES", "query=http://query:9103")
    settings, _ = running.read_settings(SETTINGS)
    assert addresses.services([], settings) == [("query", "http://query:9103")]


def test_settings_that_are_wrong_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_PARTITIONS", "none")
    read, checked = running.read_settings([KafkaSettings])
    assert not read
    assert checked.level is Level.FAILED
    assert "GOODSTRACE_PARTITIONS" in checked.findings[0].seen


def test_what_is_shown() -> None:
    checked = [
        Checked("a", (ok("one"), ok("two")), 0.1),
        Checked(
            "b",
            (warning("slow", "see", "services.md#servicedown"), failed("gone", "mend", "docs/doctor.md")),
            0.2,
        ),
    ]
    report = Report(checked)
    lines = [line for _, line in report.lines(everything=False)]
    assert lines[0].split() == ["ok", "a", "2", "are", "well"]
    assert lines[1].split() == ["FAILED", "b", "gone"]
    assert lines[2].strip() == "-> mend (docs/doctor.md)"
    assert lines[-1] == "2 checks: 1 failed, 1 warnings"
    assert "one" in " ".join(line for _, line in report.lines(everything=True))
    told = json.loads(report.json())
    assert (told["well"], told["failed"], told["warning"], told["ok"]) == (False, 1, 1, 2)
    assert told["checks"][1]["findings"][0]["runbook"] == "docs/runbooks/services.md#servicedown"


def test_called_wrongly() -> None:
    for arguments in (["--service", "nothing"], ["--only", "moon"], ["--timeout", "0"]):
        assert CliRunner().invoke(doctor, arguments).exit_code == 2, arguments


def test_every_page_that_is_named_is_there() -> None:
    folder = ROOT / "services" / "doctor"
    named = {
        each
        for path in folder.rglob("*.py")
        for each in re.findall(r'"((?:docs/)?[a-z-]+\.md(?:#[a-z-]+)?)"', path.read_text())
    }
    assert len(named) > 12
    for each in sorted(named):
        page, _, section = each.removeprefix("docs/").partition("#")
        path = ROOT / "docs" / (page if each.startswith("docs/") else f"runbooks/{page}")
        assert path.is_file(), each
        titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
        assert not section or section in {
            re.sub(r"[^a-z0-9 -]", "", t.lower()).replace(" ", "-") for t in titles
        }, each
