"""Structured logs: one JSON object a line on standard error, or coloured text on a terminal."""

import logging
import sys

import structlog


def configure(service: str, level: str) -> structlog.stdlib.BoundLogger:
    """Set logging up for a process and give the service's logger. `level` is debug, info, warning or error."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format='{"event":"%(message)s","logger":"%(name)s"}'
    )
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(service=service)
    return logger
