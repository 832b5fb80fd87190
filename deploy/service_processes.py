"""The services on this machine, each a process: what to run and where it says that it is ready."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.processes import HOST, Daemon, Report, port_from

ROOT = Path(__file__).resolve().parent.parent
READY_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Service:
    """One service: `python -m <module>`, ready when `/readyz` on its metrics port answers 200."""

    name: str
    module: str
    default_metrics_port: int
    serves: tuple[tuple[str, int], ...] = ()
    """The variable and the default of each port that it serves clients on."""

    @property
    def port_variable(self) -> str:
        """The variable by which the service is told its metrics port."""
        return f"GOODSTRACE_{self.name.upper()}_METRICS_PORT"

    @property
    def metrics_port(self) -> int:
        """The port in force. Raises StackError when the variable holds no port number."""
        return port_from(os.environ, self.port_variable, self.default_metrics_port)

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports it listens on. Raises StackError when a variable holds no port number."""
        return (self.metrics_port, *(port_from(os.environ, *each) for each in self.serves))

    @property
    def ready_url(self) -> str:
        """Where it says that it is ready."""
        return f"http://{HOST}:{self.metrics_port}/readyz"

    local: tuple[tuple[str, str], ...] = ()
    """What it is told on this machine alone: variables that nobody has set, while it listens on the loopback address."""

    @property
    def environment(self) -> dict[str, str]:
        """What only this service is told."""
        is_local = os.environ.get("GOODSTRACE_HOST", HOST) == HOST
        told = {name: value for name, value in self.local if is_local and name not in os.environ}
        return {self.port_variable: str(self.metrics_port), **told}


# In the order of starting; stopping goes the other way, so that what is captured can still be sealed.
SERVICES: Sequence[Service] = (
    Service("ledger", "services.ledger", 9102),
    Service("audit", "services.audit", 9104, (("GOODSTRACE_AUDIT_GRPC_PORT", 50052),)),
    Service("watch", "services.audit.watch", 9105),
    Service(
        "collector",
        "services.collector",
        9101,
        (("GOODSTRACE_COLLECTOR_PORT", 8080), ("GOODSTRACE_COLLECTOR_GRPC_PORT", 50053)),
    ),
    Service(
        "query",
        "services.query",
        9103,
        (("GOODSTRACE_QUERY_GRPC_PORT", 50051), ("GOODSTRACE_QUERY_HTTP_PORT", 8081)),
        (("GOODSTRACE_QUERY_WEBHOOKS", "loopback"),),
    ),
)


def daemons(
    run_dir: Path, environment: Mapping[str, str], report: Report, services: Sequence[Service] = SERVICES
) -> list[tuple[Service, Daemon]]:
    """Return the process of each service, started or not."""
    return [
        (
            service,
            Daemon(
                name=service.name,
                command=[sys.executable, "-m", service.module],
                run_dir=run_dir,
                ports=service.ports,
                environment={
                    "GOODSTRACE_WATCH_DATA_DIR": str(run_dir / "watch"),
                    **environment,
                    **service.environment,
                    **(_neighbours(services) if service.name == "query" else {}),
                },
                cwd=ROOT,
                report=report,
            ),
        )
        for service in services
    ]


def _neighbours(services: Sequence[Service]) -> dict[str, str]:
    """Tell the query service's web pages where the others are, as far as nobody has said so."""
    told = {
        "GOODSTRACE_QUERY_WEB_SERVICES": " ".join(
            f"{each.name}=http://{HOST}:{each.metrics_port}" for each in services
        ),
        "GOODSTRACE_QUERY_WEB_AUDIT": f"{HOST}:{port_from(os.environ, 'GOODSTRACE_AUDIT_GRPC_PORT', 50052)}",
        "GOODSTRACE_QUERY_WEB_COLLECTOR": f"http://{HOST}:{port_from(os.environ, 'GOODSTRACE_COLLECTOR_PORT', 8080)}",
    }
    return {name: value for name, value in told.items() if name not in os.environ}


def start_services(
    run_dir: Path, environment: Mapping[str, str], report: Report, services: Sequence[Service] = SERVICES
) -> None:
    """Start all services and wait until each is ready. Raises StackError."""
    started = daemons(run_dir, environment, report, services)
    for _, daemon in started:
        daemon.start()
    for service, daemon in started:
        daemon.wait_ready(partial(not_ready, service.ready_url), READY_TIMEOUT_S)


def stop_services(run_dir: Path, report: Report, services: Sequence[Service] = SERVICES) -> None:
    """Stop all services, the last started first."""
    for _, daemon in reversed(daemons(run_dir, {}, report, services)):
        daemon.stop()


def not_ready(url: str) -> str:
    """Return the empty string when `url` answers 200, else what it answers."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - always http on 127.0.0.1
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code}: {error.read(500).decode(errors='replace').strip()}"
    except OSError as error:
        return f"{url}: {error}"
