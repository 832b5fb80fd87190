"""FastAPI would trace by itself, with paths and queries, which hold keys of goods, and send it wherever `OTEL_` variables say: it shall not."""

from typing import Final

from fastapi.telemetry import TelemetryConfig

NO_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""For `telemetry=` of every application."""
