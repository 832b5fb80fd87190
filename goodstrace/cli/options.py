"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from goodstrace.cli.identity import QUERY_VARIABLE, default_query, source_for
from goodstrace.cli.own_receipts import keeper, store_of
from goodstrace.cli.tls import tls_for, tls_options
from goodstrace.client import Client
from goodstrace.connections import local_target
from goodstrace.errors import PolicyError, TrustFileError
from goodstrace.log_keys import LogKeys
from goodstrace.memory import FileMemory
from goodstrace.policy import MAX_POLICY_BYTES, Policy
from goodstrace.signatures import MerchantKeys
from goodstrace.token_sources import read_token

Command = TypeVar("Command", bound=Callable[..., Any])
COLLECTOR_PORT: Final = 8080

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
    help="File with an API key or a token, read again when it changes; GOODSTRACE_API_KEY may hold it. Else the session of `goodstrace login` at GOODSTRACE_QUERY_TARGET; else, of the local stack, the demo merchant.",
)
_query_option = click.option(
    "--query",
    "query_target",
    default=default_query,
    show_default="https://127.0.0.1:50051 of the local stack",
    envvar=QUERY_VARIABLE,
    help="The query service: https://host:port, or host:port (TLS, but on this machine).",
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


def query_option(command: Command) -> Command:
    """Add the query service's target, and how TLS is checked."""
    return tls_options(_query_option(command))


def client_options(command: Command) -> Command:
    """Add the options from which `connect` makes a client."""
    for option in (
        _query_option,
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
            "--receipts",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="GOODSTRACE_RECEIPTS",
            help="File of the receipts of your looks, which only you may read; by default beside that of --memory.",
        ),
        click.option(
            "--policy",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="GOODSTRACE_POLICY",
            help="C2SP tlog-policy file: believe only checkpoints that its quorum of witnesses has cosigned.",
        ),
        click.option(
            "--user",
            default="",
            envvar="GOODSTRACE_USER",
            help="For whom you look, for the record: where nobody has to sign in, and from a platform's back end.",
        ),
        click.option(
            "--merchant-keys",
            type=click.Path(exists=True, path_type=Path, dir_okay=False),
            envvar="GOODSTRACE_MERCHANT_KEYS",
            help='JSON file {"<number>": [<JWK>, ...]}: keys of merchants that you got from them; others are taken from what the log proves them to have registered.',
        ),
        api_key_option,
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
    receipts: Path | None,
    role: str = "merchant",
    asks_audit: bool = False,
) -> Client:
    """Make the client that the options describe; of the local stack as its demo merchant, or as its user of another `role`.

    `asks_audit` says that the audit service is called too: where a call fails, its address is then looked at.

    Raises: TrustFileError, KeyChangeError, CredentialsError.
    """
    if asks_audit:
        tls_for(audit_target, "--audit")  # it is checked as the query service is; so its address is known
    return Client(
        query_target,
        read_log_keys(log_keys, "--log-keys"),
        user=user,
        purpose=purpose,
        memory=FileMemory(memory),
        audit_target=audit_target,
        policy=read_policy(policy) if policy else None,
        merchant_keys=MerchantKeys.load(merchant_keys) if merchant_keys else None,
        token=source_for(query_target, api_key_file, query_target=query_target, role=role),
        index_token=read_token(index_token_file) if index_token_file else "",
        registered_keys=True,
        tls=tls_for(query_target),
        on_receipt=keeper(store_of(memory, receipts), query_target),
    )


def read_log_keys(path: Path, option: str) -> LogKeys:
    """Read the log keys that `option` names. Raises: TrustFileError, KeyChangeError."""
    if not path.exists():
        raise TrustFileError(
            f"there are no log keys in {path}: run this in the checkout of the local stack, or name {option} (GOODSTRACE_LOG_KEYS)"
        )
    return LogKeys.load(path)


def read_policy(path: Path) -> Policy:
    """Read a C2SP tlog-policy file. Raises: TrustFileError."""
    return Policy.parse(policy_text(path))


def policy_text(path: Path) -> bytes:
    """Give the text of a C2SP tlog-policy file, which parses: it is read up to one byte over its limit, which the parser refuses. Raises: TrustFileError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_POLICY_BYTES + 1)
        Policy.parse(text)
    except (OSError, PolicyError) as error:
        raise TrustFileError(f"{path}: {error}") from error
    return text


def sizes_of(as_of: tuple[str, ...]) -> dict[str, int]:
    """Read what `as_of_option` gives. Raises: click.UsageError."""
    sizes = {}
    for text in as_of:
        log, equals, size = text.partition("=")
        if not equals or not (size.isascii() and size.isdecimal()):
            raise click.UsageError(f"--as-of wants LOG=SIZE, such as goods/0=120, not {text!r}")
        sizes[log] = int(size)
    return sizes


def print_json(value: Any) -> None:
    """Print a value, or one of structs and enumerations, as indented JSON."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))
