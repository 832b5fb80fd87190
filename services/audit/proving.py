"""Proving that the browse record of a receipt is sealed, for anybody: nothing is shown but its entry."""

import re
from typing import Final

from goodstrace.audit.v1 import audit_pb2
from goodstrace.entry import ID_BYTES, TagKind, tag
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.sealing import disclosure
from services.sealing.browse import LOGS
from services.sealing.reader import LogReader
from services.sealing.showing import checkpoint_message, position

METHOD: Final = "GetBrowseProof"
_ID: Final = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")
_LOG: Final = re.compile(rf"{LOGS}[0-9]{{1,6}}")


async def browse_proof(
    reader: LogReader, secret: bytes, request: audit_pb2.GetBrowseProofRequest
) -> audit_pb2.GetBrowseProofResponse:
    """Find the entry of a browse record under the newest checkpoint of its log; see audit.proto.

    Raises: InvalidRequestError, NotFoundError where there is no such log; UnavailableError, CorruptError.
    """
    if not _ID.fullmatch(request.browse_id):
        raise InvalidRequestError(f"{2 * ID_BYTES} characters of 0-9 and a-f", "browse_id")
    if not _LOG.fullmatch(request.log):
        raise InvalidRequestError(f"such as {LOGS}0", "log")
    checkpoint = await reader.checkpoint(request.log, None)
    if checkpoint is None:
        raise NotFoundError("there is no such log, or nothing of it is published yet", "log")
    sizes = {request.log: checkpoint.size}
    answer = audit_pb2.GetBrowseProofResponse(checkpoint=checkpoint_message(checkpoint))
    own = tag(secret, TagKind.RECORD, request.browse_id)
    for record in await reader.find_newest(own, sizes, 1):
        shown = await disclosure.disclose(reader, [record], sizes, bare=[position(record)])
        answer.sealed.CopyFrom(shown[position(record)])
    return answer
