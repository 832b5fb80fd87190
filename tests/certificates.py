"""Certificates for tests: two CAs that know nothing of each other, and what they sign."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from goodstrace.dev_certificates import LOCAL_NAMES, Pair, make_ca, make_client, make_server
from services.runtime.tls import TlsSettings

URI = "spiffe://shop.example/checkout"


@dataclass(frozen=True)
class Files:
    """A certificate and its key in a folder."""

    cert: Path
    key: Path

    def put(self, pair: Pair) -> None:
        """Replace both, the key first."""
        self.key.write_bytes(pair.key)
        self.cert.write_bytes(pair.certificate)


class World:
    """A CA in `ca`, a server's certificate in `server` and a client's in `client`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.now = dt.datetime.now(dt.UTC)
        self.authority = make_ca(self.now, LOCAL_NAMES)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.authority.certificate)
        self.server = self.files("server", self.server_pair())
        self.client = self.files("client", self.client_pair())

    def server_pair(self) -> Pair:
        """One more certificate for this machine."""
        return make_server(self.authority, self.now, LOCAL_NAMES)

    def client_pair(self, *, ended: bool = False) -> Pair:
        """One more certificate of the client; `ended`: no longer valid."""
        now = self.now - dt.timedelta(days=60) if ended else self.now
        return make_client(self.authority, now, "checkout", URI)

    def files(self, name: str, pair: Pair) -> Files:
        """Put a pair into the folder."""
        made = Files(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        made.put(pair)
        return made

    def settings(self, **more: object) -> TlsSettings:
        """Settings of a service that shows the server's certificate."""
        return TlsSettings(
            cert_file=self.server.cert,
            key_file=self.server.key,
            client_ca_file=self.ca,
            **more,  # type: ignore[arg-type]
        )
