"""The verifying client: asks the services, believes nothing, and gives only what verified.

from goodstrace import Client, LogKeys

with Client("127.0.0.1:50051", LogKeys.load(Path("run/keys"))) as client:
    for event in client.trace("https://id.gs1.org/01/09521234543213/21/1").events:
        print(event.facts.time_us, event.facts.step)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

import grpc

from goodstrace.answer_checks import check_answer, check_as_of
from goodstrace.answers import Trace
from goodstrace.call_failures import call_error
from goodstrace.client_browses import BrowseCalls
from goodstrace.client_figures import FigureCalls
from goodstrace.client_proofs import ProofCalls
from goodstrace.client_receipts import OnReceipt, ReceiptCalls
from goodstrace.client_streams import DEFAULT_DEPTH, DIRECTIONS, StreamCalls, log_sizes
from goodstrace.closing import Closing
from goodstrace.completing import Completing
from goodstrace.connections import SYSTEM, Tls, channel
from goodstrace.errors import AnswerError, CallError, LeftOutError
from goodstrace.goods_answer import Goods, check_goods
from goodstrace.identifiers import canonical_key
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys
from goodstrace.memory import CheckpointMemory, VolatileMemory
from goodstrace.paging import pages
from goodstrace.policy import Policy
from goodstrace.query.v1 import (
    completeness_pb2_grpc,
    goods_pb2,
    registrations_pb2,
    trace_pb2,
    trace_pb2_grpc,
)
from goodstrace.receipts import receipts_in
from goodstrace.registration import merchant_key
from goodstrace.registrations import (
    RegisteredKeys,
    Registration,
    read_registration,
    signed_merchants,
)
from goodstrace.retrace import ShownEvent, check_named, check_tree, names_of, places_of, query_of, shown
from goodstrace.shared_proofs import give_own_proofs
from goodstrace.signatures import MerchantKeys
from goodstrace.token_sources import TokenSource, as_source
from goodstrace.tracing.filtering import EventFilter
from goodstrace.trusted_checkpoints import TrustedCheckpoints, once_more
from goodstrace.verification import (
    VerifiedCheckpoint,
    verify_entry,
)
from goodstrace.withheld import check_names, check_withheld

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_OPTIONS: Final = (("grpc.max_receive_message_length", MAX_ANSWER_BYTES),)
_PLAIN: Final = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"  # what metadata carries as it is; all else but letters is percent-encoded
_Answer = TypeVar("_Answer")
_ALL_EVENTS: Final = EventFilter()


class Client(BrowseCalls, ProofCalls, ReceiptCalls, StreamCalls, FigureCalls, Closing):
    """A client of the query service, and of the audit service where `audit_target` is given.

    Each method verifies everything before it returns and raises otherwise: NoteError, CheckpointError, ProofError, EntryError,
    AnswerError, UnknownLogError, QuorumError, SignatureError for an answer that does not hold; RollbackError where a log no longer contains what `memory`
    has of it; StaleError where an answer is from before what `memory` had when it was asked for, and so is another one; CallError where a service refuses or
    cannot be reached.
    """

    def __init__(
        self,
        target: str,
        log_keys: LogKeys,
        *,
        user: str = "",
        purpose: str = "",
        memory: CheckpointMemory | None = None,
        audit_target: str | None = None,
        timeout_s: float = 30,
        policy: Policy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        merchant_keys: MerchantKeys | None = None,
        stream_timeout_s: float = 3600,
        index_token: str = "",
        registered_keys: bool = False,
        token: TokenSource | str = "",
        tls: Tls = SYSTEM,
        on_receipt: OnReceipt | None = None,
    ) -> None:
        """Prepare to call; nothing is sent yet.

        Args:
            target: of the query service: https://host:port, or host:port (goodstrace.connections says when that is TLS).
            log_keys: the keys trusted for checkpoints, got by another way than from `target`.
            user: for whom one looks, for the browse records; up to 128 characters. It counts where nobody has to sign in, and from
                a platform's back end.
            purpose: why, for the browse records; up to 256 characters.
            memory: what was verified before; by default remembered only as long as the client lives.
            audit_target: of the audit service, for `browses`.
            timeout_s: deadline of each call.
            policy: which witnesses must have cosigned a checkpoint; without, the log's own signature is enough.
            credentials: gRPC's own, in the place of `tls`.
            merchant_keys: merchants' keys, by which their signatures are checked.
            stream_timeout_s: deadline of a whole stream.
            index_token: shown to get the index secret, where the service asks for one.
            registered_keys: check other signatures by the keys that merchants have registered, as the logs prove them: one
                more call, which is recorded too, for each merchant of an answer that signs its events.
            token: says who looks: an API key, a token, or a source of tokens that renews them (goodstrace.token_sources). What
                its roles and its partners' policies let it see is shown; without, what is public. It is sent with every call, and
                never in clear text to another machine.
            tls: whose certificates are believed, and the client's own.
            on_receipt: told of the receipt of each look as soon as its answer comes; see `browse_proof`.
        Raises: CredentialsError where a key or token would go in clear text, or a file cannot be read.
        """
        self._stream_timeout_s = stream_timeout_s
        self._on_receipt = on_receipt
        self._keys = log_keys
        self._trusted = TrustedCheckpoints(
            log_keys,
            memory or VolatileMemory(),
            policy,
            key_changes=self._key_changes,
            consistency=self._consistency,
            newest=self._newest,
            previous_header=self._previous_header,
        )
        self._purpose = purpose
        self._timeout_s = timeout_s
        self._merchants = merchant_keys
        self._registered = registered_keys
        self._metadata = (("goodstrace-user", quote(user, safe=_PLAIN)),) if user else ()
        source = as_source(token)

        def connect(to: str) -> grpc.Channel:
            return channel(
                to,
                tls,
                credential=bool(index_token),
                source=source,
                options=_OPTIONS,
                credentials=credentials,
            )

        self._channel = connect(target)
        self._query = trace_pb2_grpc.TraceServiceStub(self._channel)
        self._completing = Completing(
            completeness_pb2_grpc.CompletenessServiceStub(self._channel),
            self._call,
            self._trusted,
            self._keys,
            purpose=purpose,
            token=index_token,
        )
        self._audit_channel = connect(audit_target) if audit_target else None

    def trace(
        self,
        key: str,
        *,
        direction: str = "both",
        max_depth: int = DEFAULT_DEPTH,
        as_of: Mapping[str, int] | None = None,
        page_size: int = 0,
        only: EventFilter = _ALL_EVENTS,
        complete: bool | None = None,
    ) -> Trace:
        """Trace goods, all pages of it, and verify every part of the answer.

        Args:
            key: the goods, in any spelling.
            direction: both, upstream, downstream or history.
            max_depth: levels at the most, 1..100.
            as_of: log sizes to answer as of, by log name.
            page_size: events a page, 1..1000; 0 leaves it to the service.
            only: which events to show; the tree can be walked again only where all are.
            complete: check too that nothing was left out; True: fail where that cannot be checked; None: where it can be, that is
                where the key of the log `index` is trusted, the service proves, and the answer shows all events and is no larger
                than that allows.
        """
        ask = partial(
            self._trace,
            key,
            direction,
            max_depth,
            as_of or {},
            page_size=page_size,
            only=only,
            complete=complete,
        )
        try:
            return ask()
        except LeftOutError:
            # A merchant may have changed who sees its events between answer and proof. Who leaves something out does so again.
            return ask()

    @once_more
    def _trace(
        self,
        key: str,
        direction: str,
        max_depth: int,
        as_of: Mapping[str, int],
        *,
        page_size: int,
        only: EventFilter,
        complete: bool | None,
    ) -> Trace:
        request = trace_pb2.TraceRequest(
            key=key,
            direction=DIRECTIONS[direction],
            max_depth=max_depth,
            purpose=self._purpose,
            as_of=log_sizes(as_of),
            page_size=page_size,
            from_us=only.from_us,
            until_us=only.until_us,
            steps=sorted(only.steps),
            share_proofs=True,
        )
        held = self._trusted.held(as_of)
        pages = [_with_own_proofs(page) for page in self._pages(request, self._query.Trace)]
        checkpoints = self._trusted.opened([page.checkpoints for page in pages], held)
        check_as_of(as_of, checkpoints)
        events = self._shown([each for page in pages for each in page.events], checkpoints)
        nodes = tuple(node for page in pages for node in page.nodes)
        first = pages[0]
        check_answer(canonical_key(key), first, events, only)
        query = query_of(first.key, direction, max_depth)
        withheld = check_withheld(
            (each for page in pages for each in page.withheld_entries),
            checkpoints,
            count=first.total_withheld,
            shown=places_of(events),
        )
        is_whole = only.is_open and not first.truncated
        if is_whole:
            check_names(withheld, names_of(query, events))
        answer = Trace(
            key=first.key,
            nodes=nodes,
            events=events,
            checkpoints=checkpoints,
            withheld=first.withheld,
            total_withheld=len(withheld),
            withheld_entries=withheld,
            erased=first.erased,
            truncated=first.truncated,
            tree_verified=is_whole and check_tree(query, nodes, events),
            filtered=first.filtered,
            browse_ids=tuple(page.browse_id for page in pages),
            receipts=receipts_in(pages),
        )
        if complete is False:
            return answer
        proved, reason = self._completing.completed(
            query, nodes, events, checkpoints, whole=only.is_open and not first.truncated, must=bool(complete)
        )
        return replace(answer, complete=proved, incomplete_because=reason)

    @once_more
    def event(self, event_id: str) -> tuple[ShownEvent, ...]:
        """Show all records of an event ID or event hash, verified; empty where there is none that the caller may see."""
        request = trace_pb2.GetEventRequest(event_id=event_id, purpose=self._purpose, share_proofs=True)
        held = self._trusted.held()
        pages = [_with_own_proofs(page) for page in self._pages(request, self._query.GetEvent)]
        checkpoints = self._trusted.opened([page.checkpoints for page in pages], held)
        events = self._shown([each for page in pages for each in page.events], checkpoints)
        if len(events) != pages[0].total_events:
            raise AnswerError(
                f"the answer says it has {pages[0].total_events} events and shows {len(events)}"
            )
        check_named(event_id, events, truncated=pages[0].truncated)
        check_withheld(
            (each for page in pages for each in page.withheld_entries),
            checkpoints,
            count=pages[0].total_withheld,
            shown=places_of(events),
        )
        return events

    @once_more
    def registrations(self, key: str) -> tuple[Registration, ...]:
        """Show all that was registered under a key, verified, newest first: what holds at a time is the newest of then.

        Args:
            key: `urn:goodstrace:merchant:<number>`, or that of goods or a place in any spelling.
        """
        request = registrations_pb2.GetRegistrationsRequest(key=key, purpose=self._purpose)
        held = self._trusted.held()
        pages = list(self._pages(request, self._query.GetRegistrations))
        checkpoints = self._trusted.opened([page.checkpoints for page in pages], held)
        entries = [verify_entry(each, checkpoints) for page in pages for each in page.registrations]
        found = [read_registration(each, canonical_key(key)) for each in entries]
        if len({(each.entry.log, each.entry.index) for each in found}) != len(found):
            raise AnswerError("the answer shows one registration twice")
        return tuple(sorted(found, key=lambda each: each.order, reverse=True))

    @once_more
    def checkpoints(self) -> Mapping[str, VerifiedCheckpoint]:
        """Get the newest checkpoint of every log, verified and consistent with those remembered."""
        held = self._trusted.held()
        answer = self._call(self._query.GetCheckpoint, trace_pb2.GetCheckpointRequest())
        return self._trusted.opened([answer.checkpoints], held)

    @once_more
    def goods(self, key: str, *, as_of: Mapping[str, int] | None = None, page_size: int = 0) -> Goods:
        """Tell how goods stand: where, with whom, in what, since when; derived again from the proved events.

        Args:
            key: the goods, in any spelling.
            as_of: log sizes to answer as of, by log name.
            page_size: events a page, 1..1000; 0 leaves it to the service.
        """
        request = goods_pb2.GetGoodsRequest(
            key=key,
            purpose=self._purpose,
            as_of=log_sizes(as_of),
            page_size=page_size,
        )
        held = self._trusted.held(as_of or {})
        pages = list(self._pages(request, self._query.GetGoods))
        checkpoints = self._trusted.opened([page.checkpoints for page in pages], held)
        check_as_of(as_of or {}, checkpoints)
        return check_goods(canonical_key(key), pages, checkpoints, self._merchants)

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()
        if self._audit_channel is not None:
            self._audit_channel.close()

    def _shown(
        self, messages: Sequence[trace_pb2.TraceEvent], checkpoints: Mapping[str, VerifiedCheckpoint]
    ) -> tuple[ShownEvent, ...]:
        """Verify the events of an answer, and find out who signed them."""
        events = [shown(each, checkpoints, self._merchants) for each in messages]
        if not self._registered:
            return tuple(events)
        numbers = sorted(signed_merchants(each.event for each in events))
        found = {number: self.registrations(merchant_key(number)) for number in numbers}
        keys = RegisteredKeys(found)
        return tuple(replace(each, event=keys.signed(each.event)) for each in events)

    def _pages(self, request: Any, method: Callable[..., _Answer]) -> Iterator[_Answer]:
        return pages(request, partial(self._call, method))

    def _call(
        self, method: Callable[..., _Answer], request: Any, more: tuple[tuple[str, str], ...] = ()
    ) -> _Answer:
        try:
            answer = method(request, timeout=self._timeout_s, metadata=(*self._metadata, *more))
        except grpc.RpcError as error:
            raise call_error(error) from error
        self._received(answer)
        return answer

    def _key_changes(self, log: str) -> Iterable[bytes]:
        return self._get_key_changes(log).changes

    def _previous_header(self, log: str) -> bytes:
        return self._get_key_changes(log).previous_header

    def _get_key_changes(self, log: str) -> trace_pb2.GetKeyChangesResponse:
        try:
            return self._call(self._query.GetKeyChanges, trace_pb2.GetKeyChangesRequest(log=log))
        except CallError as error:
            if error.code not in ("UNIMPLEMENTED", "NOT_FOUND"):
                raise
            return trace_pb2.GetKeyChangesResponse()

    def _newest(self, log: str) -> log_pb2.Checkpoint | None:
        answer = self._call(self._query.GetCheckpoint, trace_pb2.GetCheckpointRequest())
        return next((each for each in answer.checkpoints if each.log == log), None)

    def _consistency(self, log: str, old_size: int, new_size: int) -> Sequence[bytes]:
        request = trace_pb2.GetConsistencyProofRequest(log=log, old_size=old_size, new_size=new_size)
        return list(self._call(self._query.GetConsistencyProof, request).proof)


def _with_own_proofs(page: _Answer) -> _Answer:
    """Give each entry of a page of events the inclusion proof that it shares with others."""
    told: Any = page
    entries = [entry for event in told.events for entry in (event.sealed, *event.also_at)]
    give_own_proofs(entries, told.shared_proofs, told.checkpoints)
    return page
