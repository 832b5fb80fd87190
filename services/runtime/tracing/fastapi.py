"""FastAPI would trace by itself, with paths and queries, which hold keys of goods, and send it wherever `OTEL_` variables say: it shall not."""

from typing import Final, TypedDict


class _Telemetry(TypedDict):
    tracing: bool
    metrics: bool
    logs: bool
    operation_spans: bool
    auto_configure: bool


NO_TELEMETRY: Final[_Telemetry] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""For `telemetry=` of every application."""
