"""Times on the command line: ISO 8601 dates and times, in UTC where no offset is written."""

from __future__ import annotations

from datetime import UTC, datetime

import click


def moment_us(text: str | int) -> int:
    """Read a time as Unix microseconds. Raises: click.BadParameter, which ends the command with a message."""
    if isinstance(text, int):
        return text
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no ISO 8601 date or time, such as 2026-03-01") from error
    since = (read if read.tzinfo else read.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
