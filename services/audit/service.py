"""`AuditService` over gRPC: lists browse records with proofs, and gives figures; each answer is recorded as a look before it leaves."""

import structlog

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from services.audit import core
from services.audit.browse_index import BrowseIndex
from services.audit.core import ListState
from services.audit.figures.answers import FigureAnswers
from services.audit.listing import Listing, after
from services.audit.part_keys import PartKeys, record_id_of
from services.audit.proving import browse_proof
from services.runtime.access.current import principal
from services.runtime.access.values import Role
from services.runtime.grpc import Context, caller
from services.runtime.page_tokens import PageTokens, TokenKey
from services.runtime.vault import Vault, user_subject
from services.sealing import disclosure, showing
from services.sealing.browse import Browse, BrowseRecorder
from services.sealing.front import FrontMetrics
from services.sealing.reader import LogReader


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Answers AuditService's calls; errors leave as exceptions, for the interceptor's table."""

    def __init__(
        self,
        reader: LogReader,
        recorder: BrowseRecorder,
        index: BrowseIndex,
        vault: Vault,
        *,
        figures: FigureAnswers,
        secret: bytes,
        page_key: TokenKey,
        page_bytes: int,
        metrics: FrontMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Answer from `reader`'s logs, by `index`, the keys of `vault` and `figures`; pages are of `page_bytes` at the most."""
        self._reader, self._vault = reader, vault
        self._listing, self._keys = Listing(reader, index, secret), PartKeys(vault, index)
        self._figures = figures
        self._recorder = recorder
        self._secret = secret
        self._tokens = PageTokens(page_key, ListState)
        self._page_bytes = page_bytes
        self._metrics = metrics
        self._log = log

    async def ListBrowses(  # noqa: N802 - the name in the proto
        self, request: audit_pb2.ListBrowsesRequest, context: Context
    ) -> audit_pb2.ListBrowsesResponse:
        """List browse records by key, user, merchant, time and outcome, newest first."""
        user = caller(context)
        query, page_size = core.query_of(request), core.page_size_of(request)
        core.check_own(query, user, sees_all=Role.AUDITOR in principal().roles)
        state = await self._tokens.open(query.encode(), request.page_token) if request.page_token else None
        checkpoints = await disclosure.vector(self._reader, "browse", page=state.sizes if state else None)
        sizes = showing.sizes_of(checkpoints)
        subject = await self._vault.hash_of(user_subject(query.user)) if query.user else None
        found = await self._listing.find(query, subject, sizes, state, page_size + 1)
        page = core.cut_page(found.records, sizes, page_size, self._page_bytes)
        shown = await disclosure.disclose(self._reader, page, sizes)
        await self._keys.add(shown, page, subject)
        rows = await self._listing.rows(page)
        answer = audit_pb2.ListBrowsesResponse(
            browses=[shown[showing.position(record)] for record in page],
            checkpoints=[showing.checkpoint_message(each) for each in checkpoints.values()],
            outcomes=[core.outcome_of(rows.get(record_id_of(record))) for record in page],
        )
        following = after(found, page, sizes)
        if following is not None:
            answer.next_page_token = await self._tokens.seal(query.encode(), following)
        # Nothing may leave before this has returned (design.md, invariant 4).
        answer.browse_id = await self._recorder.record(
            Browse(
                user=user,
                method=core.METHOD,
                keys=(query.key,) if query.key else (),
                sizes=sizes,
                purpose=request.purpose,
                events=len(page),
                asked_user=query.user,
                query=query.told,
            )
        )
        self._metrics.shown.inc(len(page))
        self._log.info("listed", browse=answer.browse_id, records=len(page))
        return answer

    async def GetStatistics(  # noqa: N802
        self, request: audit_pb2.GetStatisticsRequest, context: Context
    ) -> audit_pb2.GetStatisticsResponse:
        """Give figures of all looks over windows of time."""
        return await self._figures.statistics(request, caller(context))

    async def CountGoodsBrowses(  # noqa: N802
        self, request: audit_pb2.CountGoodsBrowsesRequest, context: Context
    ) -> audit_pb2.CountGoodsBrowsesResponse:
        """Count who looked at a merchant's goods."""
        return await self._figures.goods(request, caller(context))

    async def GetBrowseProof(  # noqa: N802 - the name in the proto
        self, request: audit_pb2.GetBrowseProofRequest, _context: Context
    ) -> audit_pb2.GetBrowseProofResponse:
        """Prove that the browse record of a receipt is sealed; see audit.proto."""
        return await browse_proof(self._reader, self._secret, request)
