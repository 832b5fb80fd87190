"""Whether what `fsck` remembers of a log, when it was interrupted, still is of that log."""

from goodstrace import block as blocks
from goodstrace.errors import VerificationError
from services.sealing.fsck.scan import LogDocuments
from services.sealing.fsck.verifier import Edge


async def is_of(store: LogDocuments, log: str, edge: Edge) -> bool:
    """Tell whether a log still has the block that an edge ends with, and the edge the root that the block says."""
    if edge.height == 0 or edge.previous is None:
        return edge.height == 0
    document = await store.block(log, edge.height - 1)
    try:
        header = blocks.decode(edge.previous)
    except VerificationError:
        return False
    same = (header.root, header.size) == (edge.tree.frontier.root().hex(), edge.size)
    return document is not None and document.get("header") == edge.previous and same
