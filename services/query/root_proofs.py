"""The way from a log up to the root log: what may be shown without a browse record, since all of it is public."""

from goodstrace import entry as entries
from goodstrace import root
from goodstrace.block import header_hash
from goodstrace.entry import TagKind
from goodstrace.errors import EntryError
from goodstrace.log_keys import ROOT_LOG
from goodstrace.query.v1 import trace_pb2
from goodstrace.root import PinnedHead
from services.query.proofs import covered_size
from services.runtime.call_errors import InvalidRequestError, OutOfRangeError
from services.runtime.envelope import content_of
from services.sealing import disclosure
from services.sealing.errors import CorruptError
from services.sealing.pins import Pin, Pins, SignedHeader
from services.sealing.reader import LogReader
from services.sealing.showing import checkpoint_message
from services.sealing.values import SealedRecord


async def root_proof(
    reader: LogReader, pins: Pins, request: trace_pb2.GetRootProofRequest
) -> trace_pb2.GetRootProofResponse:
    """Prove that the root log covers a log at a size.

    1. The newest published checkpoints of the log and of the root log are fixed: what is pinned after them does not
       count. A log is pinned once it has signed, which may be before its witnesses' quorum has.
    2. The first pin from the size on is found, and the entry that the root log has of it.
    3. The header of the pinned block is read, and the two proofs are made. After a store was made anew from Kafka the root
       log may have the entry of a block of the store before alone, of the same size: then the size is not covered yet.

    Raises: NotFoundError, InvalidRequestError, OutOfRangeError where the size is not covered yet; UnavailableError,
        CorruptError.
    """
    if request.log == ROOT_LOG:
        raise InvalidRequestError("the root log is not pinned in itself", "log")
    published = await covered_size(reader, request.log, 0, "log")
    if request.size > published:
        raise OutOfRangeError(f"the log's newest checkpoint is of size {published}", "size")
    size = request.size or published
    top = await reader.checkpoint(ROOT_LOG)
    pin = await pins.first_from(request.log, size, published) if top else None
    record = await _record(reader, request.log, pin.size, top.size) if top and pin else None
    header = await _header(pins, request.log, pin, record) if pin and record else None
    if top is None or pin is None or record is None or header is None:
        raise OutOfRangeError(
            f"no published checkpoint of the root log covers a published one of {request.log} at size {size} yet",
            "size",
        )
    shown = await disclosure.disclose(reader, [record], {ROOT_LOG: top.size})
    proof = await reader.consistency_proof(request.log, size, pin.size) if size < pin.size else []
    return trace_pb2.GetRootProofResponse(
        entry=shown[ROOT_LOG, record.index],
        consistency_proof=proof,
        root=checkpoint_message(top),
        header=header.header,
        header_signature=header.signature,
        size=size,
    )


async def _record(reader: LogReader, log: str, size: int, root_size: int) -> SealedRecord | None:
    """Find the entry that pins a log at a size; None where it is not in the root log at `root_size`.

    Of several the last: in a store made anew from Kafka those before it are of the blocks that another store had.
    """
    wanted = entries.tag(root.TAG_KEY, TagKind.CHECKPOINT, root.tag_text(log, size))
    found = await reader.find_newest(wanted, {ROOT_LOG: root_size}, 1)
    return found[0] if found else None


async def _header(pins: Pins, log: str, pin: Pin, record: SealedRecord) -> SignedHeader | None:
    """Read the header of the pinned block; None where the entry is of a block that another store had in its place."""
    place = (log, pin.height)
    found = (await pins.headers([place]))[place]
    return found if header_hash(found.header) == _pinned(record).block else None


def _pinned(record: SealedRecord) -> PinnedHead:
    content = content_of(record.parts, root.CHECKPOINT_PART) or b""
    try:
        return root.decode(content)
    except EntryError as error:
        raise CorruptError(f"{record.log}: entry {record.index}: {error}") from error
