"""The commands `goodstrace keys ...`: the logs' private keys, made, listed, changed and encrypted."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from goodstrace.cli.options import json_option, print_json
from goodstrace.errors import NoteError
from goodstrace.log_keys import log_of
from goodstrace.note import SigningKey, Verifier
from services.runtime.command_errors import told
from services.runtime.errors import ServiceError
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load
from services.sealing.errors import LogKeyError
from services.sealing.key_sources import configured_keys, key_folder, variable
from services.sealing.keys import KeyFolder
from services.sealing.mongo import MongoBlockStore
from services.sealing.ports import Keys
from services.sealing.settings import KeySettings
from services.sealing.values import LogInfo

Row = dict[str, Any]
Change = Callable[[KeyFolder, LogInfo], tuple[bool, SigningKey]]
"""Makes a key of a log, unless it was; tells whether it did, and which key that is."""

logs_argument = click.argument("logs", metavar="LOG...", nargs=-1, required=True)


@click.group()
def keys() -> None:
    """The logs' signing keys: each log has an Ed25519 key of its own, which signs its blocks and checkpoints.

    \b
    Keys are files of GOODSTRACE_KEY_DIR (run/keys), made by the ledger for a new log:
      goods-0.key           the private key; encrypted where there is a passphrase
      goods-0.vkey          the public key (C2SP vkey): give it to whoever shall verify
      goods-0.1.vkey ...    public keys that were in force earlier
      goods-0.changes       the signed statements that lead from each key to the next
    GOODSTRACE_KEY_PASSPHRASE_FILE (or GOODSTRACE_KEY_PASSPHRASE) opens encrypted keys, and encrypts new ones.

    \b
    To change the key of goods/0 while all goes on:
      goodstrace keys prepare goods/0   make the next key, to tell witnesses and partners its vkey (may be left out)
      goodstrace keys rotate goods/0    let it sign from the log's next block on
      goodstrace keys list              see when it does

    Keys may also be handed in by the environment or kept by a command (an HSM): see docs/keys.md.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@keys.command()
@logs_argument
@json_option
def generate(logs: tuple[str, ...], *, as_json: bool) -> None:
    """Make the keys of logs that have none yet, before the ledger is started.

    The ledger makes the key of a new log by itself; do it before where the key folder will be read-only for it, or to have
    a copy of each key put away before it signs. Keys that are there are left.
    """
    folder = key_folder()
    rows: list[Row] = []
    for log in map(_checked_name, logs):
        with told():
            made = folder.generate(log)
        rows.append({"log": log, "file": str(folder.path(log)), "made": made})
    _print(
        rows,
        lambda row: f"{row['log']:<12}{row['file']}{'' if row['made'] else '  (was there)'}",
        as_json=as_json,
    )


@keys.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List every key of every log: its ID, the height of the first block it signed, and its state.

    The states: `in force`; `retired` (its public key still verifies what it signed, its private key is gone); `next` (it
    signs from the log's next block on); `prepared` (made to be announced, nothing follows from it yet).
    """
    folder, at_hand = key_folder(), configured_keys()
    _print([row for info in _infos() for row in _rows(info, folder, at_hand)], _line, as_json=as_json)


@keys.command()
@click.argument("log")
@click.option("--all", "every", is_flag=True, help="Also the keys that were in force earlier, oldest first.")
@json_option
def show(log: str, *, every: bool, as_json: bool) -> None:
    """Show the public key (C2SP vkey) of a log, to be given to whoever shall verify it.

    It is told by the store: compare it with the file goods-0.vkey on the ledger's machine before you trust it.
    """
    info = _registered(_infos(), log)
    vkeys = [change.old for change in info.changes if every] + [info.vkey]
    rows: list[Row] = [{"log": log, "vkey": vkey} for vkey in vkeys]
    _print(rows, lambda row: str(row["vkey"]), as_json=as_json)


@keys.command()
@logs_argument
@json_option
def prepare(logs: tuple[str, ...], *, as_json: bool) -> None:
    """Make the next keys of logs without using them, and show their vkeys to be announced.

    Witnesses refuse checkpoints of a key they were not told of: tell them first, then `rotate`. Clients follow by
    themselves from the key they trust.
    """
    _change(logs, _prepare, "is prepared: announce it, then rotate", as_json=as_json)


@keys.command()
@logs_argument
@json_option
def rotate(logs: tuple[str, ...], *, as_json: bool) -> None:
    """Change the keys of logs: the prepared key, or a new one, signs from each log's next block on.

    A running ledger notices by itself, nothing is restarted. With the block it signs a statement with both keys; the old
    private key is then destroyed. Checkpoints and proofs that were given out before stay good, and clients that trust
    the old key follow the statement to the new one. After a key was stolen read "What to do" in docs/keys.md first.
    """
    _change(logs, _rotate, "signs from the log's next block on", as_json=as_json)


@keys.command()
@click.argument("logs", metavar="[LOG]...", nargs=-1)
@json_option
def encrypt(logs: tuple[str, ...], *, as_json: bool) -> None:
    """Encrypt key files with the passphrase, in their place; all of the folder where no log is named.

    The passphrase comes from GOODSTRACE_KEY_PASSPHRASE_FILE or GOODSTRACE_KEY_PASSPHRASE. Give the services the same
    before their next start. Make it random (openssl rand -hex 32): nobody has to remember it.
    """
    folder = key_folder()
    if load(KeySettings).passphrase() is None:
        raise click.UsageError(
            "set GOODSTRACE_KEY_PASSPHRASE_FILE (or GOODSTRACE_KEY_PASSPHRASE) to encrypt with"
        )
    rows: list[Row] = []
    for log in [_checked_name(log) for log in logs] or folder.logs():
        if not folder.path(log).exists():
            raise click.ClickException(f"{folder.path(log)}: there is no such key")
        with told():
            done = folder.encrypt(log)
        rows.append({"log": log, "file": str(folder.path(log)), "encrypted_now": done})
    _print(
        rows,
        lambda row: f"{row['log']:<12}{'encrypted' if row['encrypted_now'] else 'was encrypted'}",
        as_json=as_json,
    )


def _change(logs: tuple[str, ...], do: Change, said: str, *, as_json: bool) -> None:
    folder, rows = key_folder(), list[Row]()
    for log in logs:
        _refuse_elsewhere(log)
    infos = _infos()
    with told():
        for info in [_registered(infos, log) for log in logs]:
            made, key = _changed(folder, info, do)
            rows.append({"log": info.name, **_key_row(key.verifier), "made": made})

    def line(row: Row) -> str:
        return f"{row['log']}: the key {row['key_id']} {said}{'' if row['made'] else ' (was made before)'}\n{row['vkey']}"

    _print(rows, line, as_json=as_json)


def _changed(folder: KeyFolder, info: LogInfo, do: Change) -> tuple[bool, SigningKey]:
    """Do it, once it is sure that the ledger will be able to use what comes of it. Raises: LogKeyError."""
    if folder.find(info.name, info.origin, create=False)[0].verifier.vkey() != info.vkey:
        raise LogKeyError(
            f"{folder.path(info.name)} is not the key in force: start the ledger, which finishes a change that was cut off"
        )
    made, key = do(folder, info)
    if key.verifier.vkey() in _used(info):
        raise LogKeyError(
            f"{folder.next_path(info.name)} holds a key that the log had already: remove that file"
        )
    return made, key


def _prepare(folder: KeyFolder, info: LogInfo) -> tuple[bool, SigningKey]:
    made = folder.prepare(info.name)
    key = folder.prepared(info.name, info.origin)
    if key is None:
        raise LogKeyError(f"{folder.prepared_path(info.name)} was taken away meanwhile")
    return made, key


def _rotate(folder: KeyFolder, info: LogInfo) -> tuple[bool, SigningKey]:
    made = folder.rotate(info.name)
    return made, folder.find(info.name, info.origin, create=False)[-1]


def _rows(info: LogInfo, folder: KeyFolder, at_hand: Keys) -> Iterator[Row]:
    """Give the rows of one log, oldest key first."""
    since = 0
    for change in info.changes:
        yield _row(info, change.old, since, "retired", kept=False)
        since = change.height
    try:
        found = list(at_hand.find(info.name, info.origin, create=False))
        prepared = folder.prepared(info.name, info.origin)
        problem = ""
    except ServiceError as error:
        found, prepared, problem = [], None, str(error)
    vkeys = [key.verifier.vkey() for key in found]
    yield {**_row(info, info.vkey, since, "in force", kept=info.vkey in vkeys), "problem": problem}
    for vkey in vkeys:
        if vkey not in _used(info):
            yield _row(info, vkey, None, "next", kept=True)
    if prepared is not None:
        yield _row(info, prepared.verifier.vkey(), None, "prepared", kept=True)


def _used(info: LogInfo) -> set[str]:
    return {info.vkey, *(change.old for change in info.changes)}


def _row(info: LogInfo, vkey: str, since: int | None, state: str, *, kept: bool) -> Row:
    return {
        "log": info.name,
        **_key_row(Verifier.parse(vkey)),
        "since_height": since,
        "state": state,
        "private_key_here": kept,
    }


def _key_row(verifier: Verifier) -> Row:
    return {"key_id": verifier.key_id.hex(), "vkey": verifier.vkey()}


def _line(row: Row) -> str:
    since = "" if row["since_height"] is None else f"since height {row['since_height']}"
    note = row.get("problem") or (
        "its private key is not here" if row["state"] == "in force" and not row["private_key_here"] else ""
    )
    return f"{row['log']:<12}{row['key_id']}  {row['state']:<10}{since:<22}{note}".rstrip()


def _infos() -> list[LogInfo]:
    async def read() -> list[LogInfo]:
        mongo = Mongo(load(MongoSettings))
        try:
            return await MongoBlockStore(mongo.database).logs()
        finally:
            mongo.close()

    with told():
        return asyncio.run(read())


def _registered(infos: Iterable[LogInfo], log: str) -> LogInfo:
    named = {info.name: info for info in infos}
    if log not in named:
        raise click.ClickException(
            f"there is no log {log!r}; those of this store are: {', '.join(named) or 'none yet'}"
        )
    return named[log]


def _refuse_elsewhere(log: str) -> None:
    if load(KeySettings).key_command:
        raise click.ClickException(
            f"the key command keeps the keys: make the next one there, let `public {log}` print it last, restart the ledger"
        )
    if variable(log) in os.environ:
        raise click.ClickException(
            f"the key of {log} comes from {variable(log)}: put the next one into {variable(log)}_NEXT, restart the ledger"
        )


def _checked_name(log: str) -> str:
    try:
        is_name = log_of(f"name/instance/{log}") == log
    except NoteError:
        is_name = False
    if not is_name:
        raise click.UsageError(f"{log!r} is not the name of a log, such as goods/0, browse/1 or root")
    return log


def _print(rows: list[Row], line: Callable[[Row], str], *, as_json: bool) -> None:
    if as_json:
        print_json({"keys": rows})
        return
    for row in rows:
        click.echo(line(row))
    if not rows:
        click.echo("there are no keys yet: the ledger makes them when it first starts", err=True)
