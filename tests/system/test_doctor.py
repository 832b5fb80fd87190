"""`goodstrace doctor` on the whole system: well, and with one thing after another taken away."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from deploy.stack import Stack
from goodstrace.simulate import Simulation, SimulationOptions
from services.runtime import topics
from tests.system.harness import System, eventually

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def system(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(stack, tmp_path_factory.mktemp("doctor"))
    try:
        running.start()
        documents = Simulation(SimulationOptions(seed=3, events=40)).documents()
        running.capture_sealed(each.to_bytes() for each in documents)
        yield running
    finally:
        running.stop()


def doctor(system: System, *arguments: str, **changed: str) -> tuple[int, Answer]:
    done = system.cli_with(changed, "doctor", "--json", *arguments)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def findings(answer: Answer, level: str) -> list[str]:
    return [
        f"{each['check']}: {finding['seen']}"
        for each in answer["checks"]
        for finding in each["findings"]
        if finding["level"] == level
    ]


def test_a_system_that_is_well(system: System) -> None:
    checked = system.cli("fsck", "--kafka", "--jobs", "1")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    # What the last captures left is caught up with within seconds.
    def looked() -> tuple[int, Answer] | None:
        code, answer = doctor(system)
        print(json.dumps(answer, indent=1))
        return (code, answer) if code == 0 else None

    code, answer = eventually(looked, deadline_s=40, what="the doctor finds nothing") or (1, {})
    assert (code, answer["well"]) == (0, True)
    assert findings(answer, "warning") == [
        "witnesses: no witnesses: checkpoints are published as soon as they are signed",
        "backup: no backup was ever made of this store",
    ]
    text = system.cli("doctor")
    assert text.returncode == 0
    assert "nothing needs you now" in text.stdout
    for secret in system.key_dir.rglob("*"):
        if secret.is_file() and secret.suffix not in (".vkey", ".json"):
            assert secret.read_text().strip() not in text.stdout + json.dumps(answer)


def test_what_is_taken_away_is_said(system: System) -> None:
    key = system.key_dir / "goods-0.key"
    key.chmod(0o644)
    system.store["packs"].drop_index("log_first")
    _configured(system, topics.GOODS_STORED, "retention.ms", "604800000")
    system.kill9("query")
    code, answer = doctor(system, GOODSTRACE_BROWSE_PARTITIONS="2")
    assert code == 1
    said = "\n".join(findings(answer, "failed"))
    for each in (
        f"secrets: {key} (private key) is open to others, mode 644",
        "keys: goods/0: ",  # the key is not used so
        "indexes: 1 indexes are missing: ",
        "goods.stored: retention.ms is 604800000, not -1",
        "goods.browsed: 1 partitions, 2 are set",
        "services: query does not answer at ",
    ):
        assert each in said, said
    for finding in (finding for each in answer["checks"] for finding in each["findings"]):
        assert finding["level"] == "ok" or (finding["do"] and finding["runbook"])

    key.chmod(0o600)
    _configured(system, topics.GOODS_STORED, "retention.ms", "-1")
    assert system.run_module("services.runtime.provision").returncode == 0
    system.restart("query")
    code, answer = doctor(system, "--skip", "lag")
    assert (code, findings(answer, "failed")) == (0, [])


def test_neighbours_that_are_away_stop_no_other_check(system: System) -> None:
    code, answer = doctor(
        system,
        "--timeout",
        "20",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        MONGODB_URI="mongodb://somebody:hunter2@127.0.0.1:2",
    )
    assert code == 1
    levels = {each["check"]: each["level"] for each in answer["checks"]}
    well = {name: levels[name] for name in ("settings", "services", "secrets", "certificates", "disk")}
    assert set(well.values()) == {"ok"}, [each for each in answer["checks"] if each["check"] in well]
    assert {levels[name] for name in ("kafka", "mongodb", "topics", "indexes", "lag", "logs", "fsck")} == {
        "failed"
    }
    assert "hunter2" not in json.dumps(answer)


def _configured(system: System, topic: str, name: str, value: str) -> None:
    admin = AdminClient({"bootstrap.servers": system.stack.kafka_bootstrap_servers})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(
        ConfigResource.Type.TOPIC, f"{system.topic_prefix}{topic}", incremental_configs=[entry]
    )
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)
