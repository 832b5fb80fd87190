"""Kafka's own authorizer with the ACLs of deploy/kafka/acls.json: each user gets at what its process works with, and is refused all else."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.stack import Stack
from services.doctor.seeing.brokers import Brokers
from services.runtime import kafka
from services.runtime.consumer_groups import committed
from services.runtime.settings import KafkaSettings, load
from services.runtime.topics import declared
from tests.kafka_users import make_users
from tools.kubernetes.acls import RIGHTS, Rights, rights_of
from tools.kubernetes.kafka import user_object

PREFIX = "tried."
TOPICS = tuple(topic.name for topic in declared("", 1, 1, 1))
Users = dict[str, dict[str, str]]
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack.on_free_ports(tmp_path_factory.mktemp("rights"), report=print, secured=True)
    assert running.kafka is not None
    try:
        running.kafka.start()
        running.kafka.wait_ready()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def users(secured: Stack, tmp_path_factory: pytest.TempPathFactory) -> Users:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in secured.environment.items():
            patched.setenv(name, value)
        bootstrap = secured.kafka_bootstrap_servers
        made = kafka.create_topics(bootstrap, declared(PREFIX, 1, 1, 1))
        assert len(made) == len(TOPICS)
        return make_users(kafka.admin_client(bootstrap), tmp_path_factory.mktemp("passwords"), PREFIX)


@pytest.fixture
def settings_of(
    secured: Stack, users: Users, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, str]]:
    for name, value in secured.environment.items():
        monkeypatch.setenv(name, value)

    def become(user: str) -> dict[str, str]:
        for name, value in users[user].items():
            monkeypatch.setenv(name, value)
        return {"bootstrap.servers": secured.kafka_bootstrap_servers, **load(KafkaSettings).connection()}

    return become


def _may_write(settings: dict[str, str]) -> set[str]:
    written: set[str] = set()
    faults: list[KafkaError] = []
    # Not idempotent: such a one is refused as a whole by who may write nowhere, and this asks for each topic.
    producer = Producer(
        {**settings, "enable.idempotence": False, "message.timeout.ms": 20_000, "log_level": 0}
    )
    for name in TOPICS:

        def delivered(fault: KafkaError | None, _: object, name: str = name) -> None:
            if fault is None:
                written.add(name)
            else:
                faults.append(fault)

        producer.produce(PREFIX + name, b"tried", b"key", partition=0, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert {fault.code() for fault in faults} <= REFUSED
    return written


def _may_read(settings: dict[str, str], group: str) -> set[str]:
    read: set[str] = set()
    consumer = Consumer(
        {
            **settings,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    for name in TOPICS:
        fault = _read_fault(consumer, PREFIX + name)
        if fault is None:
            read.add(name)
        else:
            assert fault.code() in REFUSED, fault
    consumer.close()
    return read


def _read_fault(consumer: Consumer, topic: str) -> KafkaError | None:
    """Why a topic cannot be read: not even known of, or known of and refused."""
    unknown: KafkaError | None = consumer.list_topics(topic, 20).topics[topic].error
    if unknown is not None:
        return unknown
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(20)
        assert message is not None, topic
        fault = message.error()
        return None if fault is None or fault.code() == KafkaError._PARTITION_EOF else fault
    finally:
        consumer.unassign()


@pytest.mark.parametrize("rights", RIGHTS, ids=lambda rights: rights.user)
def test_a_user_reads_and_writes_its_own_topics_and_no_other(
    rights: Rights, settings_of: Callable[[str], dict[str, str]], tell: Callable[[str], None]
) -> None:
    settings = settings_of(rights.user)
    assert _may_write(settings) == set(rights.writes)
    own = (*(PREFIX + each for each in rights.groups), *rights.plain_groups)
    group = next(iter(own), "nobody's")
    assert _may_read(settings, group) == set(rights.reads)
    tell(
        f"Kafka {rights.user}: reads {len(rights.reads)} and writes {len(rights.writes)} of {len(TOPICS)} topics, is refused the others"
    )


@pytest.mark.parametrize(
    ("user", "group", "allowed"),
    [
        ("keeper", "collector.projector", True),
        ("keeper", "collector.store", False),
        ("ledger", "collector.projector", False),
        ("scaler", "collector.projector", False),
        ("operator", "collector.projector", False),
    ],
)
def test_a_group_is_that_of_its_process(
    user: str, group: str, allowed: bool, settings_of: Callable[[str], dict[str, str]]
) -> None:
    """A group that others could join would give them its partitions, and they could move its offsets."""
    admin = AdminClient({**settings_of(user), "log_level": 0})
    moved = ConsumerGroupTopicPartitions(PREFIX + group, [TopicPartition(f"{PREFIX}goods.stored", 0, 0)])
    (future,) = admin.alter_consumer_group_offsets([moved]).values()
    try:
        fault = future.result(30).topic_partitions[0].error
    except KafkaException as refused:  # who may not even know of the group
        fault = refused.args[0]
    assert (fault is None) == allowed
    assert fault is None or fault.code() in REFUSED


@pytest.mark.parametrize(
    ("user", "name", "allowed"),
    [
        ("collector", "collector.capture.collector-0", True),
        ("stages", "collector.stages.stages-0.summarise", True),
        ("ledger", "logs.checkpoints.rounds", True),
        ("collector", "collector.stages.stages-0.summarise", False),
        ("query", "logs.checkpoints.rounds", False),
    ],
)
def test_a_transactional_id_is_that_of_its_process(
    user: str, name: str, allowed: bool, settings_of: Callable[[str], dict[str, str]]
) -> None:
    """Who takes over another's ID fences it."""
    producer = Producer({**settings_of(user), "transactional.id": PREFIX + name, "log_level": 0})
    if allowed:
        producer.init_transactions(30)
    else:
        with pytest.raises(KafkaException) as refused:
            producer.init_transactions(30)
        assert refused.value.args[0].code() in REFUSED


@pytest.mark.parametrize("rights", RIGHTS, ids=lambda rights: rights.user)
def test_nobody_makes_deletes_or_empties_topics(
    rights: Rights, settings_of: Callable[[str], dict[str, str]]
) -> None:
    admin = AdminClient({**settings_of(rights.user), "log_level": 0})
    place = TopicPartition(f"{PREFIX}goods.stored", 0, 1)
    asked = (
        *admin.create_topics([NewTopic(f"{PREFIX}more", 1, 1)]).values(),
        *admin.delete_topics([f"{PREFIX}goods.stored"]).values(),
        *admin.delete_records([place]).values(),
    )
    for future in asked:
        with pytest.raises(KafkaException) as refused:
            future.result(30)
        # Who may not even know of a topic is told that nobody leads it.
        assert refused.value.args[0].code() in {*REFUSED, KafkaError._NOENT}


def test_the_users_of_strimzi_have_the_rights_that_were_tried() -> None:
    told = json.loads((Path(__file__).parents[2] / "deploy/kafka/acls.json").read_text())
    for rights in RIGHTS:
        acls = user_object(rights)["spec"]["authorization"]["acls"]
        assert [
            (
                each["resource"]["type"],
                each["resource"]["name"],
                each["resource"]["patternType"],
                each["operations"],
            )
            for each in acls
        ] == [
            (each["resource"], each["name"], each["pattern"], each["operations"])
            for each in told[f"goodstrace-{rights.user}"]
        ]


def test_the_operator_sees_what_the_doctor_looks_at(
    secured: Stack, settings_of: Callable[[str], dict[str, str]]
) -> None:
    settings_of("operator")
    brokers = Brokers(secured.kafka_bootstrap_servers, 30)
    assert brokers.cluster()[1] == 1
    there = brokers.topics([PREFIX + name for name in TOPICS])
    assert len(there) == len(TOPICS)
    assert all("cleanup.policy" in each.config for each in there.values())
    ends = brokers.ends(there.values())
    assert set(ends) == {(PREFIX + name, 0) for name in TOPICS}
    read = {place: 0 for place in ends if place[0].removeprefix(PREFIX) in rights_of("operator").reads}
    assert set(brokers.waiting(read, ends)) <= set(read)
    group = f"{PREFIX}{rights_of('keeper').groups[0]}"
    brokers.groups(ends, [group])
    # Where another test of this file has read as the keeper, the group has a place.
    assert committed(kafka.admin_client(secured.kafka_bootstrap_servers), group, 30).keys() <= ends.keys()
