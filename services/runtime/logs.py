"""Structured logs: one JSON object a line on standard error, or coloured text on a terminal; libraries' logs too.

What is logged while a span is at hand names it: `trace_id`, `span_id`. docs/observability.md lists the fields.
"""

import logging
import sys

import structlog

from services.runtime.tracing import spans


def configure(service: str, level: str) -> structlog.stdlib.BoundLogger:
    """Set logging up for a process and give the service's logger. `level` is debug, info, warning or error."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_span,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _take_in_libraries(service, shared, renderer)
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(service=service)
    return logger


def _with_span(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the span at hand."""
    return {**event, **(spans.exemplar() or {})}


def _take_in_libraries(
    service: str, shared: list[structlog.typing.Processor], renderer: structlog.typing.Processor
) -> None:
    """Write what libraries log, from warnings up, as our own lines."""

    def named(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        record = event["_record"]
        return {**event, "service": service, "library": record.name}

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[named, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
