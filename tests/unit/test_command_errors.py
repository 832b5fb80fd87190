"""Commands end with the message of what failed at the services, and hide nothing else."""

import click
import pytest

from services.runtime.command_errors import told
from services.runtime.errors import ConflictError, UnavailableError


@pytest.mark.parametrize(
    "error", [UnavailableError("the store is away"), ConflictError("it is there already")]
)
def test_an_error_of_the_services_is_told_by_its_message(error: Exception) -> None:
    with pytest.raises(click.ClickException) as raised, told():
        raise error
    assert raised.value.format_message() == str(error)
    assert raised.value.exit_code == 1
    assert raised.value.__cause__ is error


def test_others_are_told_only_where_they_are_named() -> None:
    with pytest.raises(click.ClickException, match="no such file"), told(ValueError, OSError):
        raise FileNotFoundError("no such file")
    with pytest.raises(FileNotFoundError), told(ValueError):
        raise FileNotFoundError("no such file")


def test_what_click_itself_says_passes() -> None:
    with pytest.raises(click.UsageError, match="give either"), told(ValueError):
        raise click.UsageError("give either")


def test_what_goes_well_is_left_alone() -> None:
    with told():
        done = 1
    assert done == 1
