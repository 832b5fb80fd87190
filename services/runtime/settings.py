"""Settings that the services share, read from the environment: one small frozen class per concern.

A value out of its limits, or an unknown variable with a service's own prefix (`GOODSTRACE_LEDGER_...`), ends the process
with status 2 and the name of the variable.
"""

import os
import sys
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, Self, TypeVar

from pydantic import AliasChoices, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from goodstrace.connections import is_loopback
from services.runtime.errors import SettingsError

S = TypeVar("S", bound=BaseSettings)
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
EXIT_BAD_SETTINGS: Final = 2
_SECRET_BYTES: Final = 32
DATABASE_NAME: Final = r"^[A-Za-z0-9_-]{1,63}$"
COMMAND_LINE: Final = (
    "GOODSTRACE_QUERY_TARGET",
    "GOODSTRACE_AUDIT_TARGET",
    "GOODSTRACE_WITNESS_FOLDER",
    "GOODSTRACE_WITNESS_INDEX",
    "GOODSTRACE_WITNESS_INDEX_TOKEN_FILE",
    "GOODSTRACE_WITNESS_METRICS_PORT",
    "GOODSTRACE_WITNESS_NAME",
    "GOODSTRACE_WITNESS_PORT",
    "GOODSTRACE_WITNESS_PREFIX",
)  # told to the `goodstrace` command, not to us

SHARED: Final = ("GOODSTRACE_WATCH_RETENTION_DAYS",)  # with a service's prefix, and read by others too

NESTED: Final = ("GOODSTRACE_QUERY_WEB_",)
"""Prefixes that begin with another class's prefix: what they name is told or refused by the class that has the longer one."""
DROPPED: Final = {
    "GOODSTRACE_COLLECTOR_AUTH": 'it is GOODSTRACE_ACCOUNTS now, "required" or "off"',
    "GOODSTRACE_COLLECTOR_AUTH_FRESH_S": "it is GOODSTRACE_ACCESS_FRESH_S now",
    "GOODSTRACE_COLLECTOR_AUTH_STALE_S": "it is GOODSTRACE_ACCESS_STALE_S now",
    "GOODSTRACE_QUERY_AUTH_FRESH_S": "it is GOODSTRACE_ACCESS_FRESH_S now",
    "GOODSTRACE_COLLECTOR_JWT_ISSUER": "it is GOODSTRACE_OIDC_ISSUER now",
    "GOODSTRACE_COLLECTOR_JWT_AUDIENCE": "it is GOODSTRACE_OIDC_AUDIENCE now",
    "GOODSTRACE_COLLECTOR_JWT_JWKS": "it is GOODSTRACE_OIDC_JWKS now",
    "GOODSTRACE_COLLECTOR_JWT_CLAIM": "it is GOODSTRACE_OIDC_MERCHANT_CLAIM now",
    "GOODSTRACE_COLLECTOR_JWT_SKEW_S": "it is GOODSTRACE_OIDC_SKEW_S now",
}
"""Settings that there were once, and what to set instead: who still sets one must not run without what it said."""


class KafkaSettings(BaseSettings):
    """Where Kafka is and how topics are laid out.

    `instance` is a name that this process has at every start and no other one has, such as its pod's in a StatefulSet:
    killed and started again it gets its partitions back at once, not after the dead one's session is over (6 s).
    security_protocol and what follows it are Kafka's own words: how the brokers are reached and who we are to them.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_", populate_by_name=True)

    bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    partitions: int = Field(4, ge=1, le=1024)
    browse_partitions: int = Field(2, ge=1, le=1024)
    replication: int = Field(1, ge=1, le=9)
    instance: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    security_protocol: SecurityProtocol = Field(
        default="PLAINTEXT", validation_alias="KAFKA_SECURITY_PROTOCOL"
    )
    sasl_mechanism: SaslMechanism = Field(default="SCRAM-SHA-512", validation_alias="KAFKA_SASL_MECHANISM")
    sasl_username: str = Field(default="", validation_alias="KAFKA_SASL_USERNAME")
    sasl_password_file: Path | None = Field(default=None, validation_alias="KAFKA_SASL_PASSWORD_FILE")
    ssl_ca_file: Path | None = Field(default=None, validation_alias="KAFKA_SSL_CA_FILE")
    ssl_cert_file: Path | None = Field(default=None, validation_alias="KAFKA_SSL_CERT_FILE")
    ssl_key_file: Path | None = Field(default=None, validation_alias="KAFKA_SSL_KEY_FILE")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.security_protocol.startswith("SASL_") != bool(self.sasl_username and self.sasl_password_file):
            raise ValueError(
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD_FILE go with KAFKA_SECURITY_PROTOCOL SASL_SSL or SASL_PLAINTEXT"
            )
        if not self.security_protocol.endswith("SSL") and (self.ssl_ca_file or self.ssl_cert_file):
            raise ValueError("KAFKA_SSL_... goes with KAFKA_SECURITY_PROTOCOL SSL or SASL_SSL")
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            raise ValueError("KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE go together")
        if self.security_protocol == "SASL_PLAINTEXT" and not all(map(_is_local, self._hosts())):
            raise ValueError("a password is not sent to another machine in clear text: use SASL_SSL")
        return self

    def connection(self) -> dict[str, str]:
        """Give librdkafka's settings of how brokers are reached, the password among them. Raises: SettingsError."""
        if self.security_protocol == "PLAINTEXT":
            return {}
        told: dict[str, str] = {"security.protocol": self.security_protocol}
        if self.security_protocol.startswith("SASL_"):
            told |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": read_secret(self.sasl_password_file) if self.sasl_password_file else "",
            }
        for name, path in (
            ("ssl.ca.location", self.ssl_ca_file),
            ("ssl.certificate.location", self.ssl_cert_file),
            ("ssl.key.location", self.ssl_key_file),
        ):
            if path is not None:
                told[name] = str(path)
        return told

    def _hosts(self) -> list[str]:
        return [each.strip().rpartition(":")[0] for each in self.bootstrap_servers.split(",")]

    def topic(self, name: str) -> str:
        """Give a topic's full name."""
        return self.topic_prefix + name


class MongoSettings(BaseSettings):
    """Where MongoDB is, and who we are to it.

    All of this may be in the URI too, but a password had better be in a file: an environment is seen by many. mongo_ca_file: the CAs that
    are believed; it turns TLS on. mongo_cert_file: a client certificate and its key in one PEM file, as MongoDB's own tools have it. By the
    names `ca_file` and `cert_file` they would be read from what is meant for our own clients (`GOODSTRACE_CA_FILE`), too.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_", populate_by_name=True)

    uri: str = Field("mongodb://127.0.0.1:27017", validation_alias="MONGODB_URI", repr=False)
    username: str = Field(default="", validation_alias="MONGODB_USERNAME")
    password_file: Path | None = Field(default=None, validation_alias="MONGODB_PASSWORD_FILE")
    mongo_ca_file: Path | None = Field(default=None, validation_alias="MONGODB_CA_FILE")
    mongo_cert_file: Path | None = Field(default=None, validation_alias="MONGODB_CERT_FILE")
    database: str = Field("goodstrace", pattern=DATABASE_NAME, validation_alias="GOODSTRACE_DATABASE")
    timeout_ms: int = Field(10_000, ge=100, le=600_000, validation_alias="GOODSTRACE_MONGO_TIMEOUT_MS")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if bool(self.username) != bool(self.password_file):
            raise ValueError("MONGODB_USERNAME and MONGODB_PASSWORD_FILE go together")
        return self

    def connection(self) -> dict[str, Any]:
        """Give the driver's arguments beside the URI, the password among them. Raises: SettingsError."""
        told: dict[str, Any] = {}
        if self.username and self.password_file:
            told |= {"username": self.username, "password": read_secret(self.password_file)}
        if self.mongo_ca_file or self.mongo_cert_file:
            told["tls"] = True
        if self.mongo_ca_file:
            told["tlsCAFile"] = str(self.mongo_ca_file)
        if self.mongo_cert_file:
            told["tlsCertificateKeyFile"] = str(self.mongo_cert_file)
        return told


class LogSettings(BaseSettings):
    """Logs' names and keys, the same for every service of one installation."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_")

    log_name: str = Field("goodstrace.local", pattern=r"^[a-z0-9./-]{1,64}$")
    key_dir: Path = Path("run/keys")
    index_secret_file: Path = Path("run/keys/index-secret")


class OperatorSettings(BaseSettings):
    """Where the token lies that an operator shows to the collector; without that file there is no operator."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_")

    operator_token_file: Path = Path("run/keys/operator-token")

    def token(self) -> str | None:
        """Read the token, None where there is none. Raises: SettingsError where it cannot be read."""
        try:
            return self.operator_token_file.read_text().strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read {self.operator_token_file}: {error}") from error


class MonitoringSettings(BaseSettings):
    """Where a service shows its metrics and health; how it logs."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_")

    host: str = Field("127.0.0.1", validation_alias="GOODSTRACE_HOST")
    metrics_port: int = Field(0, ge=0, le=65535)
    log_level: str = Field(
        "info", pattern=r"^(debug|info|warning|error)$", validation_alias="GOODSTRACE_LOG_LEVEL"
    )
    instance: str = Field("0", pattern=r"^[A-Za-z0-9._-]{1,64}$")


def load(settings: type[S]) -> S:
    """Read a settings class from the environment; where that cannot be, say which variable is wrong and exit with 2."""
    unknown = _unknown(settings)
    for name in (each for each in DROPPED if each in os.environ):
        _complain(f"setting {name} is no more: {DROPPED[name]}")
        _exit()
    if unknown:
        _complain(f"unknown setting {', '.join(unknown)}; known are {', '.join(_known(settings))}")
        _exit()
    try:
        return settings()
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(place) for place in fault["loc"]).upper()
            # What goes wrong between several is said by their class, and names them.
            where = f"setting {_variable(settings, name)}" if name else "settings"
            _complain(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
        _exit()


def load_secret(path: Path) -> bytes:
    """Read a secret, 32 bytes as hex text, from a file, or exit with 2 naming it: it is made by `services.runtime.provision`."""
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        _complain(
            f"cannot read the secret in {path}: {error}; make it with: python -m services.runtime.provision"
        )
        _exit()
    if len(secret) != _SECRET_BYTES:
        _complain(f"the secret in {path} must be {_SECRET_BYTES} bytes as hex")
        _exit()
    return secret


def read_secret(path: Path) -> str:
    """Read a password or token from a file, without the line's end. Raises: SettingsError, also where it is empty."""
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {type(error).__name__}") from None
    if not secret:
        raise SettingsError(f"{path} is empty")
    return secret


def _is_local(host: str) -> bool:
    return is_loopback(host.strip("[]"))


def refuse(message: str) -> NoReturn:
    """Say what is wrong with a setting and exit with 2."""
    _complain(message)
    _exit()


def _known(settings: type[BaseSettings]) -> list[str]:
    prefix = str(settings.model_config.get("env_prefix", ""))
    return sorted(
        str(field.validation_alias or prefix + name.upper()) for name, field in settings.model_fields.items()
    )


def _unknown(settings: type[BaseSettings]) -> list[str]:
    prefix = str(settings.model_config.get("env_prefix", ""))
    if prefix in ("", "GOODSTRACE_"):
        return []
    known = {*_known(settings), *COMMAND_LINE, *SHARED}
    apart = tuple(each for each in NESTED if each != prefix)
    return sorted(
        name
        for name in os.environ
        if name.startswith(prefix) and not name.startswith(apart) and name not in known
    )


def _variable(settings: type[BaseSettings], name: str) -> str:
    prefix = str(settings.model_config.get("env_prefix", ""))
    candidates = [name, prefix + name]
    for field in settings.model_fields.values():
        choices = field.validation_alias
        if isinstance(choices, AliasChoices) and name in choices.choices:
            candidates = [str(each) for each in choices.choices]
    return next((each for each in candidates if each in os.environ), candidates[-1])


def _complain(message: str) -> None:
    sys.stderr.write(message + "\n")


def _exit() -> NoReturn:
    sys.exit(EXIT_BAD_SETTINGS)
