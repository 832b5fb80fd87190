"""The options of TLS, the same for every command that calls a service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from goodstrace.connections import Tls, with_local_ca

Command = TypeVar("Command", bound=Callable[..., Any])
_HTTP_OPTIONS: Final = ("--url", "--logs")
_META: Final = "goodstrace.tls"
_ASKED: Final = f"{_META}.asked"
_TLS_NAMES: Final = ("ca_file", "client_cert_file", "client_key_file")


def tls_options(command: Command) -> Command:
    """Add the options of TLS, which `tls_for` reads: no parameter of the command."""
    for name, variable, about in (
        ("ca_file", "GOODSTRACE_CA_FILE", "PEM file of the CAs to believe, in the place of the system's."),
        ("client_cert_file", "GOODSTRACE_CLIENT_CERT_FILE", "PEM file of the client certificate to show."),
        ("client_key_file", "GOODSTRACE_CLIENT_KEY_FILE", "PEM file of its key."),
    ):
        option = click.option(
            f"--{name.replace('_', '-')}",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar=variable,
            help=about,
            expose_value=False,
            callback=_remember,
        )
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class AskedTarget:
    """An address that the running command uses, the option that names another, and how its TLS is checked."""

    text: str
    option: str
    tls: Tls

    @property
    def is_grpc(self) -> bool:
        """Whether gRPC is spoken there, and not HTTP."""
        return self.option not in _HTTP_OPTIONS


def tls_for(target: str, option: str = "--query") -> Tls:
    """Give what the running command was told of TLS; the local stack's CA is believed for https targets on this machine.

    `option` is the one that names the target: where a call fails, it is said to whoever called (goodstrace.cli.reaching).
    """
    context = click.get_current_context(silent=True)
    told = {} if context is None else context.meta
    ca_file, cert_file, key_file = (told.get(f"{_META}.{name}") for name in _TLS_NAMES)
    tls = with_local_ca(Tls(ca_file, cert_file, key_file), target)
    told.setdefault(_ASKED, {})[target] = AskedTarget(target, option, tls)
    return tls


def asked_targets(context: click.Context) -> list[AskedTarget]:
    """List the addresses that a command has used, and those that it was about to."""
    return list(context.meta.get(_ASKED, {}).values())


def _remember(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    ctx.meta[f"{_META}.{parameter.name}"] = value
