"""A Kafka and a document store that ask who calls, by TLS: for tests and measurements; the local stack's own are in clear text.

Why that is so, and what it would cost: docs/decisions/0034-tls.md.
"""

import datetime as dt
import secrets
from dataclasses import dataclass
from pathlib import Path

from goodstrace.certificate_files import CA, SERVER, certificate_path, ensure, key_path

USER = "goodstrace"


@dataclass(frozen=True)
class BrokerSecurity:
    """How a broker speaks to clients by SASL_SSL: PEM files, and one user with a password (SCRAM and PLAIN) who may do everything.

    keystore: key and certificate in one file; ca: whom the broker believes when it speaks to itself.
    """

    keystore: Path
    ca: Path
    user: str
    password_file: Path

    def client(self) -> dict[str, str | int | float | bool]:
        """Give librdkafka's settings to reach it."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": self.user,
            "sasl.password": self._password(),
            "ssl.ca.location": str(self.ca),
        }

    def environment(self) -> dict[str, str]:
        """Give the variables by which the services reach it."""
        return {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": self.user,
            "KAFKA_SASL_PASSWORD_FILE": str(self.password_file),
            "KAFKA_SSL_CA_FILE": str(self.ca),
        }

    def properties(self) -> str:
        """Give the broker's own settings; it speaks to itself as the same user."""
        login = f'username="{self.user}" password="{self._password()}"'
        itself = f'user_{self.user}="{self._password()}"'
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return "\n".join(
            (
                "",
                "ssl.keystore.type=PEM",
                f"ssl.keystore.location={self.keystore}",
                "ssl.truststore.type=PEM",
                f"ssl.truststore.location={self.ca}",
                "sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
                "sasl.mechanism.inter.broker.protocol=PLAIN",
                f"listener.name.clients.scram-sha-512.sasl.jaas.config={scram} required;",
                f"listener.name.clients.scram-sha-256.sasl.jaas.config={scram} required;",
                f"listener.name.clients.plain.sasl.jaas.config={plain} required {login} {itself};",
                # Nobody may do anything that no ACL says, but this user, and the broker as its own controller: on loopback, without a name.
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                f"super.users=User:{self.user};User:ANONYMOUS",
                "",
            )
        )

    def scram(self) -> list[str]:
        """Give the options that make the user when the data folder is formatted."""
        name = f"name={self.user},password={self._password()}"
        return [
            part
            for kind in ("SCRAM-SHA-512", "SCRAM-SHA-256")
            for part in ("--add-scram", f"{kind}=[{name}]")
        ]

    def _password(self) -> str:
        return self.password_file.read_text().strip()


@dataclass(frozen=True)
class StoreSecurity:
    """How a document store speaks to clients by TLS: PEM files, and one user with a password (SCRAM-SHA-256)."""

    cert: Path
    key: Path
    ca: Path
    user: str
    password_file: Path

    def options(self) -> list[str]:
        """Give SecantusDB's options, without that by which it asks for the password."""
        return ["--tls-cert-file", str(self.cert), "--tls-key-file", str(self.key)]

    def client(self, *, login: bool) -> dict[str, str | bool]:
        """Give the driver's arguments to reach it."""
        told: dict[str, str | bool] = {"tls": True, "tlsCAFile": str(self.ca)}
        return told | ({"username": self.user, "password": self.password()} if login else {})

    def environment(self) -> dict[str, str]:
        """Give the variables by which the services reach it."""
        return {
            "MONGODB_USERNAME": self.user,
            "MONGODB_PASSWORD_FILE": str(self.password_file),
            "MONGODB_CA_FILE": str(self.ca),
        }

    def password(self) -> str:
        """Read the password."""
        return self.password_file.read_text().strip()


def secure(folder: Path) -> tuple[BrokerSecurity, StoreSecurity]:
    """Make certificates and a password in `folder`, and say how a broker and a store use them. Raises: CredentialsError."""
    ensure(folder, dt.datetime.now(dt.UTC))
    cert, key, ca = certificate_path(folder, SERVER), key_path(folder, SERVER), certificate_path(folder, CA)
    password, keystore = folder / "password", folder / "keystore.pem"
    for path, text in ((password, secrets.token_urlsafe(24)), (keystore, key.read_text() + cert.read_text())):
        path.touch(mode=0o600)
        path.write_text(text)
    return BrokerSecurity(keystore, ca, USER, password), StoreSecurity(cert, key, ca, USER, password)
