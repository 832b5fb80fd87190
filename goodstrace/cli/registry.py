"""`goodstrace registry`: the goods and places that a merchant registers, out of files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import httpx
from rich.progress import track

from goodstrace.asked_keys import key_of_path
from goodstrace.cli.asked import KEY
from goodstrace.cli.display import progress_console
from goodstrace.cli.identity import source_for
from goodstrace.cli.options import api_key_option, json_option, print_json, url_option
from goodstrace.cli.tls import tls_for
from goodstrace.errors import CallError, CredentialsError, RegistryFileError
from goodstrace.registry import RegistryClient
from goodstrace.registry_files import GOODS, PLACES, Entry, read_file
from goodstrace.token_sources import NO_TOKEN

Command = TypeVar("Command", bound=Callable[..., Any])
_MAX_PICTURE_BYTES: Final = 20 * 1024 * 1024
_TIMEOUT_S: Final = 30


def _common(command: Command) -> Command:
    for option in (json_option, api_key_option, url_option):
        command = option(command)
    return command


@click.group()
def registry() -> None:
    """Register goods and places with the collector: names, pictures, addresses, coordinates.

    \b
      goodstrace registry goods put goods.csv          many at once, from JSON or CSV
      goodstrace registry places put places.json
      goodstrace registry goods list
      goodstrace registry places show 4012345000009

    \b
    CSV has a line of names first. For goods:
      gtin,name.en,name.de,pictures,attribute.origin
      10614141073464,Green tea,Grüntee,https://shop.example/tea.jpg,LK
    and for places:
      gln,name.en,kind,street,postalCode,city,country,latitude,longitude
      4012345000009,Plant 1,factory,Road 1,8000,Zurich,CH,47.37,8.54
    `key` (any URI) may stand in the place of `gtin` and `gln`.

    What is registered is sealed like an event, and cannot be taken back: register it anew to change it. A merchant registers what is
    its own: the API key says who it is. See docs/merchants.md.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


def _commands(kind: str, what: str) -> click.Group:
    """Make the commands for goods, and those for places."""

    @click.group(name=kind, help=f"Put, list and show {what}.")
    def group() -> None:
        pass

    @group.command(
        help=f"Register all {what} in FILES (JSON or CSV). Twice is harmless: what has not changed is not sealed again."
    )
    @click.argument(
        "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
    )
    @click.option("--dry-run", is_flag=True, help="Read the files, and fetch pictures, but send nothing.")
    @_common
    def put(
        files: tuple[Path, ...], url: str, api_key_file: Path | None, *, dry_run: bool, as_json: bool
    ) -> None:
        entries = [each for file in files for each in _read(file, kind)]
        told = _ready(entries) if dry_run else _sent(entries, kind, url, api_key_file)
        _report(list(told), as_json=as_json)

    @group.command(name="list", help=f"List the {what} that the merchant has registered.")
    @_common
    def list_all(url: str, api_key_file: Path | None, *, as_json: bool) -> None:
        with _client(url, api_key_file) as client:
            rows = client.list_registered(kind)
            if as_json:
                print_json({kind: list(rows)})
                return
            none = True
            for row in rows:
                click.echo(_line(row))
                none = False
            if none:
                click.echo(
                    f"no {what} are registered: goodstrace registry {kind} put FILE registers some", err=True
                )

    @group.command(help=f"Show one of the {what} by KEY: a URI, or {'a GTIN' if kind == GOODS else 'a GLN'}.")
    @click.argument("key")
    @_common
    def show(key: str, url: str, api_key_file: Path | None, *, as_json: bool) -> None:
        with _client(url, api_key_file) as client:
            found = client.registered(kind, _key(key, kind))
        if not as_json:
            click.echo(f"registered as record {found['recordID']}")
        print_json(found if as_json else found["content"])

    return group


registry.add_command(_commands(GOODS, "goods"))
registry.add_command(_commands(PLACES, "places"))


def _read(file: Path, kind: str) -> list[Entry]:
    try:
        return read_file(file.read_bytes().decode(), kind, file.name)
    except UnicodeDecodeError as error:
        raise RegistryFileError(f"{file.name}: not UTF-8") from error


def _ready(entries: list[Entry]) -> Iterator[dict[str, Any]]:
    """Do all but send."""
    for each in entries:
        try:
            _fetch_pictures(each.content)
            yield {"place": each.place, "key": each.content["key"], "content": each.content}
        except (RegistryFileError, httpx.HTTPError, httpx.InvalidURL) as error:
            yield {"place": each.place, "key": each.content["key"], "fault": str(error)}


def _sent(entries: list[Entry], kind: str, url: str, api_key_file: Path | None) -> Iterator[dict[str, Any]]:
    console = progress_console()
    with _client(url, api_key_file) as client:
        for each in track(entries, "registering", console=console, disable=not console.is_terminal):
            told = {"place": each.place, "key": each.content["key"]}
            try:
                _fetch_pictures(each.content)
                made = client.register(kind, each.content)
                yield {**told, "key": made["key"], "record": made["recordID"]}
            except (CallError, RegistryFileError, httpx.HTTPError, httpx.InvalidURL) as error:
                yield {**told, "fault": str(error)}


def _fetch_pictures(content: dict[str, Any]) -> None:
    """Note what each picture must be, where the file does not say so. Raises: RegistryFileError, httpx.HTTPError."""
    pictures = content.get("pictures")
    for each in pictures if isinstance(pictures, list) else ():
        if isinstance(each, dict) and "sha256" not in each:
            each["sha256"] = _digest_of(str(each.get("uri", "")))


def _digest_of(uri: str) -> str:
    digest, size = hashlib.sha256(), 0
    with httpx.stream("GET", uri, timeout=_TIMEOUT_S, follow_redirects=True) as answer:
        if not answer.is_success:
            raise RegistryFileError(f"the picture {uri} cannot be had: {answer.status_code}")
        for chunk in answer.iter_bytes():
            size += len(chunk)
            if size > _MAX_PICTURE_BYTES:
                raise RegistryFileError(f"the picture {uri} is over {_MAX_PICTURE_BYTES} bytes")
            digest.update(chunk)
    return digest.hexdigest()


def _report(told: list[dict[str, Any]], *, as_json: bool) -> None:
    """Say what became of each; exit status 1 where something was refused."""
    refused = [each for each in told if "fault" in each]
    if as_json:
        print_json({"registered": told})
    for each in () if as_json else told:
        if "fault" in each:
            click.secho(f"refused   {each['place']}  {each['key']}: {each['fault']}", fg="red")
        else:
            click.echo(
                f"{'sealed  ' if 'record' in each else 'read    '}  {each['key']}  {each.get('record', '')}".rstrip()
            )
    if not as_json:
        click.echo(f"{len(told) - len(refused)} of {len(told)}")
    if refused:
        sys.exit(1)


def _key(key: str, kind: str) -> str:
    """Take a bare number for what it is here: 13 digits may be a GTIN or a GLN."""
    if not (key.isascii() and key.isdigit()):
        return KEY.convert(key, None, None)
    return key_of_path(f"/01/{key.zfill(14)}" if kind == GOODS else f"/414/{key}") or key


def _line(row: dict[str, Any]) -> str:
    names = row["content"].get("names", {})
    name = names.get("en") or next(iter(names.values()), "")
    return f"{row['key']}  {name}".rstrip()


def _client(url: str, api_key_file: Path | None) -> RegistryClient:
    source = source_for(url, api_key_file)
    if source is NO_TOKEN:
        raise CredentialsError(
            "a merchant is wanted: --api-key-file, GOODSTRACE_API_KEY, or goodstrace login"
        )
    return RegistryClient(url, source, tls=tls_for(url, "--url"))
