"""The checks of `goodstrace doctor`: functions of what was seen; and how they are run and shown."""

import asyncio
import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from services.doctor import running
from services.doctor.checks import clocks, connections, keys, lag, logs, store, topics
from services.doctor.checks.clocks import ClockSeen
from services.doctor.checks.connections import ServiceSeen, WitnessSeen
from services.doctor.checks.keys import CertificateSeen, FileSeen, LogKeySeen
from services.doctor.checks.lag import GroupSeen
from services.doctor.checks.logs import FsckSeen, LogSeen
from services.doctor.checks.store import IndexWanted, RoomSeen
from services.doctor.checks.topics import TopicSeen
from services.doctor.command import doctor
from services.doctor.report import Report
from services.doctor.seeing import files
from services.doctor.values import Checked, Finding, Level, failed, ok, warning
from services.runtime.errors import UnavailableError
from services.runtime.settings import KafkaSettings
from services.runtime.topics import declared

ROOT = Path(__file__).resolve().parents[2]
WANTED = declared("", 4, 2, 3)
THERE = {each.name: TopicSeen(each.name, each.partitions, 3, 3, 0, each.config()) for each in WANTED}
PLACE = ("goods.stored", 1)
GROUP = GroupSeen("collector.projector", 1, {PLACE: 5}, {PLACE: 9}, {})
LOG = LogSeen("goods/0", sealed=10, signed=10, published=10, sealed_s=600, waiting=0)
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


def test_logs() -> None:
    assert levels(logs.check_logs([])) == ["warning"]
    assert levels(logs.check_logs([LOG])) == ["ok"]
    for fields in ({"waiting": 4}, {"sealed": 12}, {"signed": 12, "sealed": 12}):
        late = msgspec.structs.replace(LOG, **fields)
        assert "failed" in levels(logs.check_logs([late])), fields
        assert levels(logs.check_logs([msgspec.structs.replace(late, sealed_s=1)])) == ["ok"]
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
