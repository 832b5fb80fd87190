"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from goodstrace.client import Client
from goodstrace.connections import Tls, local_target, with_local_ca
from goodstrace.credentials import api_key_for, read_token
from goodstrace.errors import PolicyError
from goodstrace.log_keys import LogKeys
from goodstrace.memory import FileMemory
from goodstrace.policy import Policy
from goodstrace.signatures import MerchantKeys

Command = TypeVar("Command", bound=Callable[..., Any])
COLLECTOR_PORT: Final = 8080
_META: Final = "goodstrace.tls"
_TLS_NAMES: Final = ("ca_file", "client_cert_file", "client_key_file")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text for people."
)

as_of_option = click.option(
    "--as-of",
    "as_of",
    multiple=True,
    metavar="LOG=SIZE",
    help="Answer as of a log's size, such as goods/0=120; may be given for several logs.",
)

api_key_option = click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="GOODSTRACE_API_KEY_FILE",
    help="File with the API key of the merchant who captures; else GOODSTRACE_API_KEY holds it.",
)


def url_option(command: Command) -> Command:
    """Add the collector's URL, and how TLS is checked: `tls_for` gives that."""
    option = click.option(
        "--url",
        default=partial(local_target, COLLECTOR_PORT, http=True),
        show_default="https://127.0.0.1:8080 of the local stack",
        envvar="GOODSTRACE_CAPTURE_URL",
        help="The collector.",
    )
    return tls_options(option(command))


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


def tls_for(target: str) -> Tls:
    """Give what the running command was told of TLS; the local stack's CA is believed for https targets on this machine."""
    told = click.get_current_context().meta
    ca_file, cert_file, key_file = (told.get(f"{_META}.{name}") for name in _TLS_NAMES)
    return with_local_ca(Tls(ca_file, cert_file, key_file), target)


def _remember(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    ctx.meta[f"{_META}.{parameter.name}"] = value


def client_options(command: Command) -> Command:
    """Add the options from which `connect` makes a client."""
    for option in (
        click.option(
            "--query",
            "query_target",
            default=partial(local_target, 50051),
            show_default="https://127.0.0.1:50051 of the local stack",
            envvar="GOODSTRACE_QUERY_TARGET",
            help="The query service: https://host:port, or host:port (TLS, but on this machine).",
        ),
        click.option(
            "--audit",
            "audit_target",
            default=partial(local_target, 50052),
            show_default="https://127.0.0.1:50052 of the local stack",
            envvar="GOODSTRACE_AUDIT_TARGET",
            help="The audit service.",
        ),
        click.option(
            "--log-keys",
            type=click.Path(path_type=Path),
            default=Path("run/keys"),
            show_default=True,
            envvar="GOODSTRACE_LOG_KEYS",
            help="File of vkey lines, or folder of *.vkey files: the log keys you trust.",
        ),
        click.option(
            "--memory",
            type=click.Path(path_type=Path),
            default=Path(click.get_app_dir("goodstrace", force_posix=True)) / "checkpoints.json",
            envvar="GOODSTRACE_MEMORY",
            help="File of the newest checkpoint seen of each log; later answers must be consistent with it.",
        ),
        click.option(
            "--policy",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="GOODSTRACE_POLICY",
            help="C2SP tlog-policy file: believe only checkpoints that its quorum of witnesses has cosigned.",
        ),
        click.option(
            "--user",
            default="anonymous",
            show_default=True,
            envvar="GOODSTRACE_USER",
            help="Who looks, for the record.",
        ),
        click.option(
            "--merchant-keys",
            type=click.Path(exists=True, path_type=Path, dir_okay=False),
            envvar="GOODSTRACE_MERCHANT_KEYS",
            help='JSON file {"<number>": [<JWK>, ...]}: keys of merchants that you got from them; others are taken from what the log proves them to have registered.',
        ),
        click.option(
            "--api-key-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar="GOODSTRACE_API_KEY_FILE",
            help="File with the API key of the merchant who looks; else GOODSTRACE_API_KEY holds it.",
        ),
        click.option(
            "--index-token-file",
            type=click.Path(exists=True, path_type=Path, dir_okay=False),
            envvar="GOODSTRACE_INDEX_TOKEN_FILE",
            help="File with the token for the index secret, by which answers are proved to be complete.",
        ),
        click.option("--purpose", default="", envvar="GOODSTRACE_PURPOSE", help="Why, for the record."),
    ):
        command = option(command)
    return tls_options(command)


def connect(
    *,
    query_target: str,
    audit_target: str,
    log_keys: Path,
    memory: Path,
    policy: Path | None,
    user: str,
    purpose: str,
    merchant_keys: Path | None,
    api_key_file: Path | None,
    index_token_file: Path | None,
) -> Client:
    """Make the client that the options describe. Raises: NoteError, PolicyError, SignatureError, CredentialsError."""
    return Client(
        query_target,
        LogKeys.load(log_keys),
        user=user,
        purpose=purpose,
        memory=FileMemory(memory),
        audit_target=audit_target,
        policy=read_policy(policy) if policy else None,
        merchant_keys=MerchantKeys.load(merchant_keys) if merchant_keys else None,
        api_key=api_key_for(query_target, api_key_file) or "",
        index_token=read_token(index_token_file) if index_token_file else "",
        registered_keys=True,
        tls=tls_for(query_target),
    )


def read_policy(path: Path) -> Policy:
    """Read a C2SP tlog-policy file. Raises: PolicyError."""
    try:
        return Policy.parse(path.read_bytes())
    except (OSError, PolicyError) as error:
        raise PolicyError(f"{path}: {error}") from error


def sizes_of(as_of: tuple[str, ...]) -> dict[str, int]:
    """Read what `as_of_option` gives. Raises: click.UsageError."""
    sizes = {}
    for text in as_of:
        log, equals, size = text.partition("=")
        if not equals or not size.isdigit():
            raise click.UsageError(f"--as-of wants LOG=SIZE, such as goods/0=120, not {text!r}")
        sizes[log] = int(size)
    return sizes


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
