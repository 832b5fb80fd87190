"""Settings of TLS and of passwords: what goes together, what is refused, and that no secret is shown."""

from pathlib import Path

import pytest

from deploy.local_tls import client_side, tls_environment
from deploy.processes import StackError, silent
from services.runtime import kafka
from services.runtime.errors import SettingsError
from services.runtime.outgoing import trusted
from services.runtime.settings import EXIT_BAD_SETTINGS, KafkaSettings, MongoSettings, load, read_secret
from services.runtime.tls import TlsSettings
from tests.certificates import World

SECRET = "correct-horse-battery"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(SECRET + "\n")
    return path


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def refused(
    settings: type[KafkaSettings | MongoSettings | TlsSettings], capsys: pytest.CaptureFixture[str]
) -> str:
    with pytest.raises(SystemExit) as ended:
        load(settings)
    assert ended.value.code == EXIT_BAD_SETTINGS
    return capsys.readouterr().err


def test_clear_text_adds_nothing_to_what_kafka_is_told() -> None:
    assert kafka.connection("a:1") == {"bootstrap.servers": "a:1"}


def test_a_password_goes_to_the_library_and_is_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, password: Path
) -> None:
    set_all(
        monkeypatch,
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_MECHANISM="SCRAM-SHA-256",
        KAFKA_SASL_USERNAME="ann",
        KAFKA_SASL_PASSWORD_FILE=password,
        KAFKA_SSL_CA_FILE="/ca.pem",
        MONGODB_USERNAME="ann",
        MONGODB_PASSWORD_FILE=password,
    )
    told = kafka.connection("a:1")
    assert (told["sasl.username"], told["sasl.password"]) == ("ann", SECRET)
    assert (told["sasl.mechanism"], told["ssl.ca.location"]) == ("SCRAM-SHA-256", "/ca.pem")
    mongo = load(MongoSettings)
    assert mongo.connection() == {"username": "ann", "password": SECRET}
    assert SECRET not in repr(load(KafkaSettings)) + repr(mongo)
    assert "hunter2" not in repr(MongoSettings(uri="mongodb://u:hunter2@host", database="d", timeout_ms=1000))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_USERNAME"),
        ({"KAFKA_SASL_USERNAME": "ann", "KAFKA_SASL_PASSWORD_FILE": "/p"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SSL_CA_FILE": "/ca.pem"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERT_FILE": "/c.pem"}, "KAFKA_SSL_KEY_FILE"),
        (
            {
                "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1,kafka.example:1",
                "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
                "KAFKA_SASL_USERNAME": "ann",
                "KAFKA_SASL_PASSWORD_FILE": "/p",
            },
            "clear text",
        ),
    ],
)
def test_what_does_not_go_together_is_said(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(monkeypatch, **variables)
    assert said in refused(KafkaSettings, capsys)


def test_a_user_of_mongodb_wants_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(monkeypatch, MONGODB_USERNAME="ann")
    assert "MONGODB_PASSWORD_FILE" in refused(MongoSettings, capsys)


def test_a_certificate_wants_its_key_and_an_empty_setting_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(monkeypatch, GOODSTRACE_TLS_CERT_FILE="", GOODSTRACE_TLS_KEY_FILE="")
    assert load(TlsSettings).files() == ()
    set_all(monkeypatch, GOODSTRACE_TLS_CERT_FILE="/c.pem")
    assert "GOODSTRACE_TLS_KEY_FILE" in refused(TlsSettings, capsys)
    set_all(monkeypatch, GOODSTRACE_TLS_CERT_FILES="/c.pem")
    assert "unknown setting GOODSTRACE_TLS_CERT_FILES" in refused(TlsSettings, capsys)


def test_a_secret_that_cannot_be_read_is_named_by_its_file(tmp_path: Path, password: Path) -> None:
    assert read_secret(password) == SECRET
    (tmp_path / "empty").write_text("\n")
    for path in (tmp_path / "missing", tmp_path / "empty", tmp_path):
        with pytest.raises(SettingsError, match=path.name):
            read_secret(path)


def test_the_services_believe_a_ca_besides_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trusted().cert_store_stats()["x509_ca"]
    set_all(monkeypatch, GOODSTRACE_CA_FILE=World(tmp_path).ca)
    assert trusted().cert_store_stats()["x509_ca"] == before + 1
    set_all(monkeypatch, GOODSTRACE_CA_FILE=tmp_path / "missing.pem")
    with pytest.raises(SettingsError, match="GOODSTRACE_CA_FILE"):
        trusted()


def test_the_local_stack_makes_certificates_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    told = tls_environment(tmp_path, {}, silent)
    assert set(told) >= {"GOODSTRACE_TLS_CERT_FILE", "GOODSTRACE_TLS_KEY_FILE", "GOODSTRACE_CA_FILE"}
    assert client_side(tmp_path, {})[0] == "https"
    assert client_side(tmp_path, {})[1].ca_file == tmp_path / "tls" / "ca.pem"
    before = (tmp_path / "tls" / "ca.pem").read_bytes()
    assert tls_environment(tmp_path, {"GOODSTRACE_TLS_CERT_FILE": "/own.pem"}, silent) == {}
    assert (tmp_path / "tls" / "ca.pem").read_bytes() == before
    assert tls_environment(tmp_path, {"GOODSTRACE_TLS": "off"}, silent) == {}
    assert client_side(tmp_path, {})[0] == "http"
    with pytest.raises(StackError, match="neither on nor off"):
        tls_environment(tmp_path, {"GOODSTRACE_TLS": "yes"}, silent)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "ca.pem").write_text("no certificate")
    (tmp_path / "tls" / "ca.key").write_text("no key")
    with pytest.raises(StackError, match="remove"):
        tls_environment(tmp_path, {}, silent)
