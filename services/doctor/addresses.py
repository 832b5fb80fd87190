"""Where the services show whether they are ready: as somebody says, else as the web pages are told, else by the services' own settings. Pure."""

from collections.abc import Sequence
from typing import Final

from pydantic_settings import BaseSettings

from services.audit.settings import AuditSettings
from services.audit.watch.settings import WatchSettings
from services.collector.settings import CollectorSettings
from services.ledger.settings import LedgerSettings
from services.query.settings import QuerySettings
from services.query.web.settings import WebSettings
from services.runtime.settings import MonitoringSettings
from services.runtime.tls import TlsSettings

_OF: Final[dict[str, type[BaseSettings]]] = {
    "collector": CollectorSettings,
    "ledger": LedgerSettings,
    "query": QuerySettings,
    "audit": AuditSettings,
    "watch": WatchSettings,
}
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - nothing listens here


def services(named: Sequence[str], settings: Sequence[BaseSettings]) -> list[tuple[str, str]]:
    """Give the name and the address of each service that is looked at.

    Args:
        named: NAME=URL, as on the command line.
        settings: those that could be read. In the place of others stand their defaults; the check `settings` says so.
    """
    read = {type(each): each for each in settings}
    web = read.get(WebSettings)
    told = list(named) or (web.services.split() if isinstance(web, WebSettings) else [])
    if told:
        return [(name, url.rstrip("/")) for name, _, url in (each.partition("=") for each in told)]
    tls, shared = read.get(TlsSettings), read.get(MonitoringSettings)
    scheme = "https" if isinstance(tls, TlsSettings) and tls.metrics else "http"
    host = shared.host if isinstance(shared, MonitoringSettings) else "127.0.0.1"
    host = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    ports = {name: _port(read.get(kind), kind) for name, kind in _OF.items()}
    return [(name, f"{scheme}://{host}:{port}") for name, port in ports.items() if port]


def _port(read: BaseSettings | None, kind: type[BaseSettings]) -> int:
    """Give the port of metrics and health; 0 is any, which nobody can know."""
    return int(getattr(read, "metrics_port", kind.model_fields["metrics_port"].default))
