"""A whole store: which logs there must be, what belongs to none of them, and the jobs that check each."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from goodstrace.errors import VerificationError
from goodstrace.grouping import grouped
from goodstrace.log_keys import ROOT_LOG, LogKeys
from goodstrace.note import Verifier
from services.runtime.settings import MongoSettings
from services.runtime.state_file import StateFile
from services.sealing.documents import Document
from services.sealing.fsck import rows, state
from services.sealing.fsck.against import SavedNote, verified
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.feeding import Progress
from services.sealing.fsck.jobs import Job
from services.sealing.fsck.rows import Malformed
from services.sealing.fsck.scan import PLACES, LogDocuments
from services.sealing.indexes import HEADS, RUNS
from services.sealing.values import LogInfo

NAMELESS: Final = "(no log)"


class Options(msgspec.Struct, kw_only=True):
    """What to check, and against what.

    Attributes:
        names: logs to check; all of the store where there is none.
        trusted: public keys from elsewhere, or None to believe those that the store names.
        policy: a tlog-policy file's text, or None.
        saved: checkpoints that somebody kept.
    """

    names: tuple[str, ...] = ()
    trusted: LogKeys | None = None
    policy: bytes | None = None
    saved: tuple[SavedNote, ...] = ()


class Survey(msgspec.Struct, kw_only=True):
    """What is to be done, and what was found already.

    Attributes:
        jobs: one for each log that can be checked, the longest first. `sizes`: their entries, by log.
        verdicts: faults found without reading a log, by log. `stale`: logs whose saved state is of another log.
    """

    jobs: list[Job]
    sizes: dict[str, int]
    verdicts: dict[str, Verdict]
    stale: list[str] = []


async def survey(
    store: LogDocuments, options: Options, mongo: MongoSettings | None, kept: StateFile[Progress] | None
) -> Survey:
    """Find out which logs are there, which should be, and what is of no log. Raises: UnavailableError."""
    found = Survey(jobs=[], sizes={}, verdicts={})
    registered = {str(each["_id"]): _info(each, found) for each in await store.logs()}
    saved = grouped((each.log, each) for each in options.saved)
    wanted = set(options.names)
    if not wanted:
        wanted = {*registered, *saved, *(options.trusted.logs() if options.trusted else ())}
        await _strays(store, list(registered), found)
    for name in sorted(wanted):
        info = registered.get(name)
        if info is None:
            _verdict(found, name).found("log", "the store has no such log")
            continue
        job = await _job(store, info, options, saved.get(name, ()), found)
        found.jobs.append(await _started(store, msgspec.structs.replace(job, mongo=mongo), kept, found))
    found.jobs.sort(key=lambda job: found.sizes[job.info.name], reverse=True)
    return found


def merged(verdicts: Sequence[Verdict], found: Survey) -> list[Verdict]:
    """Put what the survey found into the verdicts of the logs; gives all of them by name."""
    by_name = {verdict.log: verdict for verdict in verdicts}
    moved = [fault for verdict in found.verdicts.values() for fault in verdict.faults]
    for verdict in verdicts:
        moved += verdict.of_others()
    for fault in moved:
        of_log = by_name.setdefault(fault.log, Verdict(log=fault.log))
        of_log.found(fault.field, fault.problem, block=fault.block, index=fault.index)
    return [by_name[name] for name in sorted(by_name)]


async def count_pins(store: LogDocuments, verdicts: Collection[Verdict]) -> None:
    """Find pins that the root log knows nothing of. Raises: UnavailableError."""
    by_name = {verdict.log: verdict for verdict in verdicts}
    root = by_name.get(ROOT_LOG)
    for name, (count, newest) in (root.pinned if root else {}).items():
        there = len(await store.pins(name, 0, newest))
        if name in by_name and there > count:
            problem = (
                f"{there} checkpoints up to size {newest} are said to be in the root log, it has {count}"
            )
            by_name[name].found("pinned", problem)


async def _job(
    store: LogDocuments, info: LogInfo, options: Options, saved: Sequence[SavedNote], found: Survey
) -> Job:
    name = info.name
    trusted = _trusted(options, info, found)
    signed, problems = verified(saved, info, trusted)
    for problem in problems:
        _verdict(found, name).found("against", problem)
    size = (await store.head(name) or {}).get("size", 0)
    found.sizes[name] = size if isinstance(size, int) else 0
    vkey = trusted.vkey() if trusted else None
    return Job(info=info, trusted=vkey, policy=options.policy, saved=tuple(signed))


async def _started(store: LogDocuments, job: Job, kept: StateFile[Progress] | None, found: Survey) -> Job:
    """Go on from where an earlier run was, if the log is still the one it was."""
    start = kept.get(job.info.name) if kept else None
    if start is None:
        return job
    if not await state.is_of(store, job.info.name, start.edge):
        found.stale.append(job.info.name)
        return job
    return msgspec.structs.replace(job, start=start)


def _trusted(options: Options, info: LogInfo, found: Survey) -> Verifier | None:
    if options.trusted is None:
        return None
    try:
        return options.trusted.verifier(info.name)
    except VerificationError as error:
        _verdict(found, info.name).found("key", error)
        return None


async def _strays(store: LogDocuments, logs: Sequence[str], found: Survey) -> None:
    for collection in PLACES:
        for document in await store.strays(collection, logs):
            _stray(document.get("log"), collection, document, logs, found)
    for collection in (HEADS, RUNS):
        for document in await store.strays_by_log(collection, logs):
            _stray(document["_id"], collection, document, logs, found)


def _stray(log: Any, collection: str, document: Document, logs: Sequence[str], found: Survey) -> None:
    name = log if isinstance(log, str) else NAMELESS
    where = "is of no place in the log" if name in logs else "is of no registered log"
    _verdict(found, name).found("stray", f"{collection}: document {document['_id']} {where}")


def _info(document: Document, found: Survey) -> LogInfo:
    """Decode a registration; of a malformed one what can be read, for the rest is checked all the same."""
    info = rows.info(document)
    if not isinstance(info, Malformed):
        return info
    name = str(document["_id"])
    _verdict(found, name).found("key", info.problem)
    return LogInfo(name, str(document.get("origin")), str(document.get("vkey")))


def _verdict(found: Survey, name: str) -> Verdict:
    return found.verdicts.setdefault(name, Verdict(log=name))
