"""Commands of the server side: they join a group by entry points, so that `goodstrace/` stays free of their libraries."""

from __future__ import annotations

import importlib.metadata

import click

from goodstrace.cli.reaching import HintingGroup


def group_with(entry_points: str) -> type[click.Group]:
    """Make the class of a group that has, beside its own commands, those of the server side under these entry points.

    They are imported when they are asked for: the server side's libraries are many times larger than what it takes to check a proof.
    """

    class Joined(HintingGroup):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return sorted({*super().list_commands(ctx), *_found(entry_points)})

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in self.commands and (entry_point := _found(entry_points).get(cmd_name)):
                self.add_command(_loaded(entry_point), cmd_name)
            return super().get_command(ctx, cmd_name)

    return Joined


def _found(entry_points: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {each.name: each for each in importlib.metadata.entry_points(group=entry_points)}


def _loaded(entry_point: importlib.metadata.EntryPoint) -> click.Command:
    """Load a command of the server side; where its libraries are not installed, one that says what it needs."""
    try:
        command: click.Command = entry_point.load()
    except ModuleNotFoundError as error:
        missing = str(error.name)

        @click.command(
            entry_point.name,
            help="Not installed here: it needs goodstrace[server].",
            context_settings={"ignore_unknown_options": True},
        )
        @click.argument("arguments", nargs=-1)
        def absent(arguments: tuple[str, ...]) -> None:  # noqa: ARG001 - whatever it is called with
            raise click.ClickException(
                f"`goodstrace {entry_point.name}` runs on the server side and needs {missing}: install goodstrace[server]"
            )

        return absent
    return command
