"""`python -m services.runtime.provision`: makes all that is needed, may be repeated, waits, and says what is in the way."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient

from services.runtime import kafka
from services.runtime.topics import GOODS_STORED, Topic, declared
from tests.conftest import Names
from tests.deadlines import DEADLINE_S


@pytest.fixture
def environment(kafka_bootstrap: str, mongo_uri: str, names: Names, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "MONGODB_URI": mongo_uri,
        "GOODSTRACE_DATABASE": names.database,
        "GOODSTRACE_TOPIC_PREFIX": names.topic_prefix,
        "GOODSTRACE_INDEX_SECRET_FILE": str(tmp_path / "keys" / "index-secret"),
        "GOODSTRACE_VAULT_KEY_FILE": str(tmp_path / "vault" / "keys"),
    }


def provision(environment: dict[str, str], **changed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.runtime.provision"]
    return subprocess.run(
        command,
        env={**environment, **changed},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def test_all_is_made_once(environment: dict[str, str], names: Names, tmp_path: Path) -> None:
    first = provision(environment)
    assert first.returncode == 0, first.stdout + first.stderr
    secret = tmp_path / "keys" / "index-secret"
    made = secret.read_text()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(made)) == 32
    assert made.strip() not in first.stdout
    vault_keys = tmp_path / "vault" / "keys"
    assert stat.S_IMODE(vault_keys.stat().st_mode) == 0o600
    vault_keys.write_text(f"{made}{vault_keys.read_text()}")  # the newest comes first

    topics = (
        AdminClient({"bootstrap.servers": environment["KAFKA_BOOTSTRAP_SERVERS"]})
        .list_topics(timeout=DEADLINE_S)
        .topics
    )
    for topic in declared(names.topic_prefix, 4, 2, 1):
        assert len(topics[topic.name].partitions) == topic.partitions
    with MongoClient[dict[str, object]](environment["MONGODB_URI"]) as client:
        database = client[names.database]
        assert {"log_first"} <= set(database["packs"].index_information())
        instance = database["instance"].find_one({"_id": "instance"})

        second = provision(environment)
        assert second.returncode == 0, second.stderr
        assert "(0 made now)" in second.stdout
        assert secret.read_text() == made
        assert database["instance"].find_one({"_id": "instance"}) == instance


def test_a_topic_with_other_partitions_is_in_the_way(environment: dict[str, str], names: Names) -> None:
    kafka.create_topics(environment["KAFKA_BOOTSTRAP_SERVERS"], [Topic(names.topic(GOODS_STORED), 3, 1)])
    done = provision(environment)
    assert done.returncode == 1
    assert "has 3 partitions and 4 are set" in done.stderr


def test_a_store_that_does_not_come_up_is_waited_for_and_then_named(environment: dict[str, str]) -> None:
    done = provision(
        environment,
        MONGODB_URI="mongodb://127.0.0.1:1",
        GOODSTRACE_MONGO_TIMEOUT_MS="200",
        GOODSTRACE_PROVISION_TIMEOUT_S="5",
    )
    assert done.returncode == 1
    assert "waiting: MongoDB" in done.stdout
    assert "provision: MongoDB" in done.stderr
