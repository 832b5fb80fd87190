"""Checking every log of a store, one after the other: what `goodstrace verify` does."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from goodstrace.errors import NoteError
from goodstrace.log_keys import is_retired
from goodstrace.note import Verifier
from services.sealing.errors import LogKeyError
from services.sealing.ports import LogScan
from services.sealing.values import LogInfo
from services.sealing.verify import Verdict, verify_log


def read_vkeys(folder: Path) -> dict[str, Verifier]:
    """Read the trusted public keys of a folder's `*.vkey` files, but those of retired keys, by file name: "goods-0" for the log goods/0.

    Raises: LogKeyError where there is none, or one is malformed.
    """
    found = {}
    for path in sorted(folder.glob("*.vkey")):
        if is_retired(path):
            continue
        try:
            found[path.stem] = Verifier.parse(path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError, NoteError) as error:
            raise LogKeyError(f"{path}: {error}") from error
    if not found:
        raise LogKeyError(f"{folder}: there is no *.vkey file")
    return found


async def verify_store(
    scan: LogScan,
    names: Collection[str],
    trusted: Mapping[str, Verifier] | None,
    progress: Callable[[Verdict], None],
) -> list[Verdict]:
    """Check logs, all of the store where `names` is empty.

    Args:
        scan: the store.
        names: logs to check; one that the store does not have is a fault.
        trusted: public keys by file name (`read_vkeys`), or None to believe those that the store names. With it, a log
            without a trusted key is a fault, and so is a trusted key whose log is not there.
        progress: called now and then with what was checked of a log so far.
    Raises: UnavailableError.
    """
    registered = {info.name: info for info in await scan.logs()}
    wanted = sorted(names or _expected(registered, trusted))
    verdicts = []
    for name in wanted:
        key = (trusted or {}).get(name.replace("/", "-"))
        info = registered.get(name)
        if info is None:
            verdict = Verdict(log=name)
            verdict.missing("log", "the store has no such log")
        else:
            verdict = await verify_log(scan, info, key, progress)
            if trusted is not None and key is None:
                verdict.missing("key", "there is no trusted key for this log")
        verdicts.append(verdict)
    return verdicts


def _expected(registered: Mapping[str, LogInfo], trusted: Mapping[str, Verifier] | None) -> set[str]:
    """Name the logs that are registered or that a trusted key is for."""
    kept = {stem.replace("-", "/") for stem in trusted or {}}
    return set(registered) | kept
