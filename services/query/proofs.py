"""Checkpoints and proofs: what may be shown without a browse record, since it shows no part of any record."""

import asyncio

from goodstrace import key_changes
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import leaf_hash
from goodstrace.proof_file import ProofFile
from goodstrace.query.v1 import trace_pb2
from services.runtime.call_errors import InvalidRequestError, NotFoundError, OutOfRangeError
from services.sealing.errors import CorruptError
from services.sealing.pins import Pins
from services.sealing.reader import LogReader
from services.sealing.showing import checkpoint_message
from services.sealing.values import StoredCheckpoint


async def checkpoints(
    reader: LogReader, request: trace_pb2.GetCheckpointRequest
) -> trace_pb2.GetCheckpointResponse:
    """Give the newest checkpoint of a log or of all, or the one of a size.

    Raises: NotFoundError where there is none; OutOfRangeError where the log has not that size yet; UnavailableError.
    """
    if not request.log:
        if request.size:
            raise InvalidRequestError("a size wants the name of a log", "log")
        found = [stored for _, stored in sorted((await reader.newest()).items())]
    else:
        found = [await _of_size(reader, request.log, request.size)]
    return trace_pb2.GetCheckpointResponse(checkpoints=[checkpoint_message(each) for each in found])


async def inclusion(
    reader: LogReader, request: trace_pb2.GetInclusionProofRequest
) -> trace_pb2.GetInclusionProofResponse:
    """Prove that an entry is in a log. Source: RFC 6962 section 2.1.1.

    Raises: NotFoundError, OutOfRangeError, InvalidRequestError, UnavailableError.
    """
    size = await covered_size(reader, request.log, request.size, "size")
    if request.index >= size:
        raise InvalidRequestError(f"must be below the size, {size}", "index")
    [record], [proof] = await asyncio.gather(
        reader.records(request.log, [request.index]),
        reader.inclusion_proofs(request.log, [request.index], size),
    )
    return trace_pb2.GetInclusionProofResponse(
        proof=proof,
        leaf_hash=leaf_hash(record.entry),
        checkpoint=_shown(await reader.checkpoint(request.log, size)),
        size=size,
    )


async def consistency(
    reader: LogReader, request: trace_pb2.GetConsistencyProofRequest
) -> trace_pb2.GetConsistencyProofResponse:
    """Prove that a log only grew between two sizes. Source: RFC 6962 section 2.1.2.

    The newer may be one at which the log's key changed, though nothing of it is published yet: the key's statement names it.
    Raises: NotFoundError, OutOfRangeError, InvalidRequestError, UnavailableError.
    """
    try:
        new_size = await covered_size(reader, request.log, request.new_size, "new_size")
    except OutOfRangeError:
        if not await _changed_key_at(reader, request.log, request.new_size):
            raise
        new_size = request.new_size
    if request.old_size > new_size:
        raise InvalidRequestError(f"must not be over the newer size, {new_size}", "old_size")
    proof: list[bytes] = []  # nothing is to be proved from the empty log, nor of a log to itself
    if 0 < request.old_size < new_size:
        proof = await reader.consistency_proof(request.log, request.old_size, new_size)
    return trace_pb2.GetConsistencyProofResponse(proof=proof, new_size=new_size)


async def proof_file(
    reader: LogReader, request: trace_pb2.GetProofFileRequest
) -> trace_pb2.GetProofFileResponse:
    """Make a proof of an entry that can be stored: a C2SP tlog-proof with the entry's bytes.

    Raises: NotFoundError, OutOfRangeError, InvalidRequestError, UnavailableError.
    """
    checkpoint = await _of_size(reader, request.log, request.size)
    if request.index >= checkpoint.size:
        raise InvalidRequestError(f"must be below the size, {checkpoint.size}", "index")
    [record], [proof] = await asyncio.gather(
        reader.records(request.log, [request.index]),
        reader.inclusion_proofs(request.log, [request.index], checkpoint.size),
    )
    made = ProofFile(request.index, tuple(proof), checkpoint.note, record.entry)
    return trace_pb2.GetProofFileResponse(proof=made.encode())


async def _newest(reader: LogReader, log: str) -> StoredCheckpoint:
    newest = await reader.checkpoint(log)
    if newest is None:
        raise NotFoundError("no log of this name has a checkpoint", "log")
    return newest


async def key_changes_of(
    reader: LogReader, pins: Pins, request: trace_pb2.GetKeyChangesRequest
) -> trace_pb2.GetKeyChangesResponse:
    """Give the changes of a log's key, and the header before the last, where it is there and sound. Raises: NotFoundError, UnavailableError."""
    info = await reader.info(request.log)
    if info is None:
        raise NotFoundError("there is no log of this name", "log")
    answer = trace_pb2.GetKeyChangesResponse(changes=map(key_changes.statement, info.changes))
    if info.changes:
        answer.previous_header = await _header(pins, info.name, info.changes[-1].height - 1)
    return answer


async def _header(pins: Pins, log: str, height: int) -> bytes:
    try:
        headers = await pins.headers_there([(log, height)])
    except CorruptError:  # told by fsck; the statements lead on all the same
        return b""
    return headers[log, height].header if headers else b""


async def _changed_key_at(reader: LogReader, log: str, size: int) -> bool:
    info = await reader.info(log)
    return info is not None and any(change.size == size for change in info.changes)


async def covered_size(reader: LogReader, log: str, asked: int, field: str) -> int:
    """Give the size asked for, or the newest checkpoint's where it is 0. Raises: NotFoundError, OutOfRangeError."""
    newest = await _newest(reader, log)
    if asked > newest.size:
        raise OutOfRangeError(f"the log's newest checkpoint is of size {newest.size}", field)
    return asked or newest.size


async def _of_size(reader: LogReader, log: str, asked: int) -> StoredCheckpoint:
    size = await covered_size(reader, log, asked, "size")
    stored = await reader.checkpoint(log, size)
    if stored is None:
        raise NotFoundError(f"no checkpoint of size {size} was signed", "size")
    return stored


def _shown(stored: StoredCheckpoint | None) -> log_pb2.Checkpoint | None:
    return checkpoint_message(stored) if stored is not None else None
