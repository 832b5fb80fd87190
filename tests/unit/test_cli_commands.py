"""The command line where the server side is not installed: its commands say so, and the others work."""

import importlib.metadata
import subprocess
import sys

from click.testing import CliRunner

from goodstrace.cli.main import cli
from goodstrace.cli.server_side import _loaded


def test_a_command_whose_libraries_are_missing_says_what_it_needs() -> None:
    entry_point = importlib.metadata.EntryPoint(
        "fsck", "no_such_library.commands:fsck", "goodstrace.commands"
    )
    command = _loaded(entry_point)
    result = CliRunner().invoke(command, ["--log", "goods/0"])
    assert result.exit_code == 1
    assert "needs no_such_library: install goodstrace[server]" in result.output


def test_commands_of_the_server_side_are_listed_and_found() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert all(
        f"  {name} " in result.output for name in ("trace", "fsck", "keys", "replay", "witness", "export")
    )
    assert CliRunner().invoke(cli, ["fsck", "--help"]).exit_code == 0
    assert "No such command 'nix'" in CliRunner().invoke(cli, ["nix"]).output


def test_a_client_command_imports_no_library_of_the_server_side() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from goodstrace.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['verify', '--help']).exit_code == 0\n"
        "print([name for name in ('pymongo', 'fastapi', 'confluent_kafka', 'services') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
