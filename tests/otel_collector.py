"""The real OpenTelemetry Collector as a process for tests: what is exported to it is written to a file, a request of OTLP as JSON a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from deploy.processes import HOST, Daemon, free_port, is_listening
from tests.deadlines import DEADLINE_S
from tests.go_programs import OTELCOL

KINDS = ("", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
ERROR = 2


@dataclass(frozen=True)
class ExportedSpan:
    """A span as it came: IDs as hex, times in Unix nanoseconds, `links` as (trace, span)."""

    service: str
    name: str
    kind: str
    trace: str
    span: str
    parent: str
    began_ns: int
    ended_ns: int
    failed: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


needs_collector = pytest.mark.skipif(
    not OTELCOL.is_built, reason="the OpenTelemetry Collector is not built here: `make otelcol`, some minutes"
)


class OtelCollector:
    """One collector on a free port, the same one at each start. A context manager: starts, stops."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        self.file = folder / "spans.json"
        self.endpoint = f"http://{HOST}:{self._port}"
        config = folder / "otelcol.yml"
        config.write_text(yaml.safe_dump(_configuration(self._port, self.file)))
        self._daemon = Daemon(
            name="otelcol",
            command=[str(OTELCOL.build()), "--config", str(config)],
            run_dir=folder,
            ports=(self._port,),
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it; return when it takes spans."""
        self._daemon.start()
        self._daemon.wait_ready(lambda: "" if is_listening(self._port) else "nobody listens", DEADLINE_S)
        return self

    def stop(self) -> None:
        """Stop it; what it has got is in its file."""
        self._daemon.stop()

    def spans(self) -> list[ExportedSpan]:
        """List all spans that came so far."""
        if not self.file.exists():
            return []
        whole = self.file.read_text().rpartition("\n")[0]
        return [span for line in whole.splitlines() for span in _spans_of(json.loads(line))]

    def trace(self, trace_id: str) -> list[ExportedSpan]:
        """List the spans of a trace in the order in which they began."""
        return sorted(
            (each for each in self.spans() if each.trace == trace_id), key=lambda each: each.began_ns
        )

    def text(self) -> bytes:
        """Everything that came, as it was written."""
        return self.file.read_bytes() if self.file.exists() else b""


def _configuration(port: int, file: Path) -> dict[str, Any]:
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"{HOST}:{port}"}}}},
        "exporters": {"file": {"path": str(file), "flush_interval": "100ms", "append": True}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    }


def _spans_of(request: dict[str, Any]) -> Iterator[ExportedSpan]:
    for of_resource in request["resourceSpans"]:
        service = _values(of_resource["resource"]["attributes"])["service.name"]
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                yield ExportedSpan(
                    service=service,
                    name=span["name"],
                    kind=KINDS[span.get("kind", 0)],
                    trace=span["traceId"],
                    span=span["spanId"],
                    parent=span.get("parentSpanId", ""),
                    began_ns=int(span["startTimeUnixNano"]),
                    ended_ns=int(span["endTimeUnixNano"]),
                    failed=span.get("status", {}).get("code") == ERROR,
                    attributes=_values(span.get("attributes", [])),
                    links=tuple((each["traceId"], each["spanId"]) for each in span.get("links", [])),
                )


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for each in attributes:
        ((kind, value),) = each["value"].items()
        found[each["key"]] = int(value) if kind == "intValue" else value
    return found
