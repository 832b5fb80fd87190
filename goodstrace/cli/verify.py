"""`goodstrace verify FILE...`: check proofs that were handed on, with nothing but keys that are trusted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from goodstrace import proof_bundle, proof_file
from goodstrace.cli import wrong_index
from goodstrace.cli.display import BY_RETIRED_KEY, console, write_as_is
from goodstrace.cli.options import json_option, print_json, read_policy
from goodstrace.completeness.wrong_index import MAX_FILE_BYTES, is_wrong_index
from goodstrace.errors import NoteError, VerificationError
from goodstrace.log_keys import LogKeys
from goodstrace.policy import Policy
from goodstrace.proof_bundle import MAX_BUNDLE_BYTES
from goodstrace.proof_file import MAX_PARTS_BYTES, VerifiedProof

_STORE_COMMAND = "fsck"
_MAX_ENTRY_BYTES = 64 * 1024
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=_FILE)
@click.option(
    "--vkeys",
    type=click.Path(exists=True, path_type=Path),
    envvar="GOODSTRACE_LOG_KEYS",
    help="File of vkey lines, or folder of *.vkey files: the log keys you trust.",
)
@click.option("--vkey", "more_keys", multiple=True, metavar="VKEY", help="Trust this log key as well.")
@click.option(
    "--policy",
    "policy_file",
    type=_FILE,
    envvar="GOODSTRACE_POLICY",
    help="C2SP tlog-policy file: its logs are trusted, and its quorum of witnesses must have cosigned.",
)
@click.option("--entry", "entry_file", type=_FILE, help="The entry proved, for a FILE that does not hold it.")
@click.option("--parts", "parts_file", type=_FILE, help="Parts handed on with FILE: check them against it.")
@click.option("--log", "logs", multiple=True, help="Without FILE: check this log of the store only.")
@json_option
def verify(
    files: tuple[Path, ...],
    *,
    vkeys: Path | None,
    more_keys: tuple[str, ...],
    policy_file: Path | None,
    entry_file: Path | None,
    parts_file: Path | None,
    logs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check proof files (C2SP tlog-proof) offline: no service is asked, only keys are trusted.

    Each FILE must show that its entry is in its log, under a checkpoint that the log has signed and, with --policy, that
    the quorum of witnesses has cosigned. The exit status is 0 only when all do. A proof that the log `index` is wrong is such a FILE
    too; that of its log and of the entry's must be among the keys. So is a proof bundle, as the web pages give it: every entry and part in it.

    Without FILE the whole store is checked, as `goodstrace fsck` does.
    """
    if not files:
        if more_keys or entry_file or parts_file:
            raise click.UsageError("--vkey, --entry and --parts want a FILE")
        _check_store(vkeys, policy_file, logs, as_json=as_json)
        return
    if logs or (len(files) > 1 and (entry_file or parts_file)):
        raise click.UsageError("--log goes without FILE, --entry and --parts with one FILE only")
    if vkeys is None and not more_keys and policy_file is None:
        raise click.UsageError("give the keys you trust: --vkeys, --vkey or --policy")
    keys = _keys(vkeys, more_keys)
    policy = read_policy(policy_file) if policy_file else None
    entry = _read(entry_file, _MAX_ENTRY_BYTES) if entry_file else None
    results = [_result(file, keys, policy, entry, parts_file) for file in files]
    if as_json:
        print_json({"verified": all(each["verified"] for each in results), "files": results})
    else:
        for each in results:
            _show(each, console())
    sys.exit(0 if all(each["verified"] for each in results) else 1)


def _check_store(vkeys: Path | None, policy: Path | None, logs: Sequence[str], *, as_json: bool) -> None:
    context = click.get_current_context()
    group = context.parent.command if context.parent else None
    command = group.get_command(context, _STORE_COMMAND) if isinstance(group, click.Group) else None
    if command is None:
        raise click.UsageError(
            "name a FILE: checking the store needs goodstrace[server], which is not installed"
        )
    arguments = [part for log in logs for part in ("--log", log)]
    arguments += ["--vkeys", str(vkeys)] if vkeys else []
    arguments += ["--policy", str(policy)] if policy else []
    arguments += ["--json"] if as_json else []
    command.main(arguments, prog_name=f"goodstrace {_STORE_COMMAND}", standalone_mode=False)


def _keys(vkeys: Path | None, more: Sequence[str]) -> LogKeys | None:
    """Gather the trusted keys; those of --vkey must not contradict those of --vkeys. Raises: TrustFileError, KeyChangeError, click.UsageError."""
    try:
        given = LogKeys.parse(more) if more else None
    except NoteError as error:
        raise click.UsageError(f"--vkey is no vkey of a log (NAME+HASH+KEY): {error}") from error
    if vkeys is None:
        return given
    loaded = LogKeys.load(vkeys)
    for log in given.logs() if given else ():
        if log in loaded.logs():
            raise click.UsageError(f"--vkeys has a key of {log} already")
    return LogKeys.joined(loaded, given) if given else loaded


def _result(
    file: Path, keys: LogKeys | None, policy: Policy | None, entry: bytes | None, parts_file: Path | None
) -> dict[str, Any]:
    try:
        data = _read(file, max(MAX_FILE_BYTES, MAX_BUNDLE_BYTES))
        if proof_bundle.is_bundle(data):
            _refuse_beside_bundle(entry, parts_file)
            found = proof_bundle.parse(data)
            shown = [
                _document(each.proof, policy, each.parts) for each in proof_bundle.verify(found, keys, policy)
            ]
            return {"file": str(file), "verified": True, "key": found.key, "entries": shown}
        if is_wrong_index(data):
            return {"file": str(file), "verified": True, **wrong_index.result(data, keys, policy)}
        verified = proof_file.verify(proof_file.parse(data), keys, policy, entry)
        parts = proof_file.verify_parts(verified, _read(parts_file, MAX_PARTS_BYTES)) if parts_file else None
    except VerificationError as error:
        return {"file": str(file), "verified": False, "problem": str(error)}
    return {"file": str(file), "verified": True, **_document(verified, policy, parts)}


def _refuse_beside_bundle(entry: bytes | None, parts_file: Path | None) -> None:
    if entry is not None or parts_file is not None:
        raise click.UsageError(
            "a proof bundle holds its entries and parts: --entry and --parts do not go with it"
        )


def _document(
    verified: VerifiedProof, policy: Policy | None, parts: Mapping[str, bytes] | None
) -> dict[str, Any]:
    return {
        "origin": verified.checkpoint.origin,
        "log": verified.log,
        "index": verified.index,
        "size": verified.checkpoint.size,
        "root": verified.checkpoint.root.hex(),
        "entry": {"id": verified.entry.id, "kind": verified.entry.kind, "time_ms": verified.entry.time},
        "quorum": policy.quorum if policy else None,
        "cosigned": dict(sorted(verified.cosigned.items())),
        "unknown_signatures": verified.unknown_signatures,
        "by_retired_key": verified.by_retired_key,
        "parts": {name: content.decode(errors="replace") for name, content in parts.items()}
        if parts is not None
        else None,
    }


def _show(result: Mapping[str, Any], out: Console) -> None:
    name = escape(result["file"])
    if not result["verified"]:
        out.print(f"[red]✘ {name}[/red] does not verify: {escape(result['problem'])}")
        return
    if wrong_index.WRONG_INDEX in result:
        wrong_index.show(result, result["file"], out)
        return
    if "entries" in result:
        out.print(f"[green]✔ {name}[/green]: {len(result['entries'])} entries of {escape(result['key'])}")
    else:
        out.print(f"[green]✔ {name}[/green]")
    for each in result.get("entries", (result,)):
        _show_entry(each, out)


def _show_entry(result: Mapping[str, Any], out: Console) -> None:
    entry = result["entry"]
    sealed = datetime.fromtimestamp(entry["time_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    out.print(
        f"  the {escape(entry['kind'])} {escape(entry['id'])}, recorded {sealed} UTC, is entry {result['index']}"
        f" of the log {escape(result['origin'])}"
    )
    out.print(f"  [dim]signed checkpoint of {result['size']} entries, root {result['root']}[/dim]")
    for witness, unix_s in result["cosigned"].items():
        when = datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
        out.print(f"  cosigned by {escape(witness)}, which says it did so at {when} UTC")
    if result["quorum"] is not None:
        out.print(f"  the quorum {escape(result['quorum'])} is reached")
    if result["by_retired_key"]:
        out.print(BY_RETIRED_KEY)
    if result["unknown_signatures"]:
        out.print(f"  [dim]{result['unknown_signatures']} signatures by keys that are not known here[/dim]")
    for part, content in (result["parts"] or {}).items():
        write_as_is(f"  the part {part} is what was sealed: {content}", out)


def _read(file: Path, limit_bytes: int) -> bytes:
    """Read a file up to one byte over its limit, which its parser then refuses."""
    try:
        with file.open("rb") as opened:
            return opened.read(limit_bytes + 1)
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error}") from error
