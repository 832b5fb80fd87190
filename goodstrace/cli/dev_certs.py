"""`goodstrace dev-certs`: a CA of one's own and certificates for development."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from goodstrace.certificate_files import CA, SERVER, certificate_path, ensure, key_path, make_all
from goodstrace.cli.options import json_option, print_json
from goodstrace.dev_certificates import CA_DAYS, LEAF_DAYS, LOCAL_NAMES


@click.command("dev-certs")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST",
    help="A DNS name or IP address of the server, besides localhost, 127.0.0.1 and ::1; may be given again.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar="NAME=URI",
    help="Make a client certificate too: NAME is the file's, URI the SAN, such as checkout=spiffe://shop.example/checkout.",
)
@click.option(
    "--renew",
    is_flag=True,
    help="Make only what is not there, ends within 7 days, or is not for these names; may be run at any time, while services use the files.",
)
@click.option(
    "--keep-ca",
    is_flag=True,
    help="With --renew, each day: make anew what ends within 9 days, and never the CA, of which others must be told; a certificate ends with its CA at the latest.",
)
@json_option
def dev_certs(
    folder: Path,
    names: tuple[str, ...],
    clients: tuple[str, ...],
    *,
    renew: bool,
    keep_ca: bool,
    as_json: bool,
) -> None:
    """Make a CA and certificates for development in FOLDER.

    Not for production: the CA's key lies beside what it signs. It ends after 90 days, the certificates after 30, and it can sign
    only for the DNS names given here. Nothing is overwritten: remove the folder to make all anew, or see --renew. See docs/tls.md.
    """
    wanted = [_client(each) for each in clients]
    if renew:
        if wanted:
            raise click.UsageError(
                "--renew is for the CA and the server's certificate: make clients' without it"
            )
        _renew(folder, names, keep_ca=keep_ca, as_json=as_json)
        return
    if keep_ca:
        raise click.UsageError("--keep-ca goes with --renew")
    made = make_all(folder, names, wanted, dt.datetime.now(dt.UTC))
    if as_json:
        print_json({"files": [str(path) for path in made], "ca_days": CA_DAYS, "days": LEAF_DAYS})
        return
    for path in made:
        click.echo(path)
    click.echo(
        f"\nThe CA ends in {CA_DAYS} days, the certificates in {LEAF_DAYS}. The services:\n"
        f"  export GOODSTRACE_TLS_CERT_FILE={certificate_path(folder, SERVER)}\n"
        f"  export GOODSTRACE_TLS_KEY_FILE={key_path(folder, SERVER)}\n"
        f"  export GOODSTRACE_TLS_CLIENT_CA_FILE={certificate_path(folder, CA)}   # for mTLS ports\n"
        f"Their clients:\n"
        f"  export GOODSTRACE_CA_FILE={certificate_path(folder, CA)}\n"
        f"  curl --cacert {certificate_path(folder, CA)} https://localhost:8080/"
    )
    for name, _ in wanted:
        click.echo(
            f"As {name}:\n"
            f"  export GOODSTRACE_CLIENT_CERT_FILE={certificate_path(folder, name)}\n"
            f"  export GOODSTRACE_CLIENT_KEY_FILE={key_path(folder, name)}"
        )


def _renew(folder: Path, names: tuple[str, ...], *, keep_ca: bool, as_json: bool) -> None:
    made = ensure(folder, dt.datetime.now(dt.UTC), (*LOCAL_NAMES, *names), keep_ca=keep_ca)
    if as_json:
        print_json({"made": made, "ca_days": CA_DAYS, "days": LEAF_DAYS})
    else:
        click.echo(f"{folder}: {'certificates made' if made else 'the certificates are good'}")


def _client(text: str) -> tuple[str, str]:
    name, equals, uri = text.partition("=")
    if not equals or not name or "/" in name or ":" not in uri or not uri.isascii():
        raise click.UsageError(
            f"--client wants NAME=URI, such as checkout=spiffe://shop.example/checkout, not {text!r}"
        )
    return name, uri
