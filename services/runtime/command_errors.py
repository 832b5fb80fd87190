"""How commands that work on the platform itself end where it fails: with the message of the error, and without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from services.runtime.errors import ServiceError


@contextmanager
def told(*others: type[Exception]) -> Iterator[None]:
    """End the command with the message of a ServiceError, or of one of `others`, and status 1.

    Raises: click.ClickException in their place.
    """
    failures: tuple[type[Exception], ...] = (ServiceError, *others)
    try:
        yield
    except failures as error:
        raise click.ClickException(str(error)) from error
