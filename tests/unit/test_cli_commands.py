"""The command line where the server side is not installed: its commands say so, and the others work."""

import importlib.metadata

from click.testing import CliRunner

from goodstrace.cli.main import _loaded


def test_a_command_whose_libraries_are_missing_says_what_it_needs() -> None:
    entry_point = importlib.metadata.EntryPoint(
        "fsck", "no_such_library.commands:fsck", "goodstrace.commands"
    )
    command = _loaded(entry_point)
    result = CliRunner().invoke(command, ["--log", "goods/0"])
    assert result.exit_code == 1
    assert "needs no_such_library: install goodstrace[server]" in result.output
