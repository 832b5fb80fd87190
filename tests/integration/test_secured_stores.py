"""Kafka by SASL_SSL and a document store by TLS with a password: the right ones get in, wrong ones end with a clear message."""

from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from deploy.stack import Stack
from services.runtime import kafka
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.kafka import KafkaProbe
from services.runtime.mongo import Mongo, translated
from services.runtime.read_back import read_back
from services.runtime.settings import MongoSettings, load
from services.runtime.topics import Topic
from tests.certificates import World


@pytest.fixture(autouse=True)
def environment(secured: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in secured.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def wrong_password(tmp_path: Path) -> Path:
    path = tmp_path / "wrong"
    path.write_text("not-the-password\n")
    return path


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_records_go_out_and_come_back_by_each_mechanism(
    secured: Stack, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", mechanism)
    name, bootstrap = f"secured-{mechanism}", secured.kafka_bootstrap_servers
    assert kafka.create_topics(bootstrap, [Topic(name, 1, 1)]) == [name]
    producer = kafka.producer(bootstrap, transactional_id=name)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(name, b"goods", partition=0)
    producer.commit_transaction(30)
    consumer = kafka.consumer(bootstrap, name)
    consumer.assign([TopicPartition(name, 0, 0)])
    message = consumer.poll(30)
    assert message is not None
    assert (message.error(), message.value()) == (None, b"goods")
    consumer.close()
    assert read_back(bootstrap, name, 0, 1, bytes) == [b"goods"]


async def test_a_wrong_password_of_kafka_is_said_and_not_shown(
    secured: Stack, wrong_password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(wrong_password))
    with pytest.raises(UnavailableError, match="Authentication failed") as raised:
        kafka.create_topics(secured.kafka_bootstrap_servers, [], timeout_s=5)
    assert "not-the-password" not in str(raised.value)
    with pytest.raises(UnavailableError, match="Authentication failed"):
        await KafkaProbe(secured.kafka_bootstrap_servers, "any")()


def test_a_broker_of_another_ca_is_not_believed(
    secured: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(World(tmp_path / "theirs").ca))
    with pytest.raises(UnavailableError, match="certificate verify failed"):
        kafka.create_topics(secured.kafka_bootstrap_servers, [], timeout_s=5)


async def ping(**more: object) -> None:
    mongo = Mongo(load(MongoSettings).model_copy(update={"timeout_ms": 2000, **more}))
    try:
        await mongo.ping()
        if not more:
            await mongo.database["tried"].insert_one({"well": True})
    finally:
        mongo.close()


async def test_a_document_store_by_tls_and_password(tmp_path: Path, wrong_password: Path) -> None:
    await ping()
    with pytest.raises(ServiceError, match=r"MongoDB: authentication failed$") as raised:
        await ping(password_file=wrong_password)
    assert "not-the-password" not in repr(raised.value)
    with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
        await ping(mongo_ca_file=World(tmp_path / "theirs").ca)
    with pytest.raises(ServiceError):
        await ping(mongo_ca_file=None)
    nobody = Mongo(load(MongoSettings).model_copy(update={"username": "", "password_file": None}))
    with pytest.raises(ServiceError, match=r"(?i)auth"):
        async with translated():
            await nobody.database["tried"].find_one()
    nobody.close()
