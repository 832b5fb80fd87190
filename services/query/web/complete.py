"""Proofs of completeness for the browser: that nothing which names the goods of a page was left out. See docs/completeness.md.

The browser can only check them with the index secret, by which it makes the tag of the key itself; with another tag a service could prove
anything. So whoever gets a proof gets the secret, and the operator says who may.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

import msgspec
from fastapi import Request, Response

from goodstrace import entry as entries
from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.leaf import INDEX_PART
from goodstrace.completeness.proof import RunPages, TagRows
from goodstrace.completing import TOKEN_METADATA
from goodstrace.entry import TagKind
from goodstrace.query.v1 import completeness_pb2
from services.query.index_gate import is_local
from services.query.web.pages import Handler, WebPages
from services.query.web.settings import WebSettings
from services.query.web.visiting import Visit
from services.runtime.access.current import principal
from services.runtime.access.values import GIVEN_ROLES, Role
from services.runtime.call_errors import NotFoundError, OutOfRangeError
from services.runtime.grpc import Context

PURPOSE: Final = "web page"


class Proving(Protocol):
    """CompletenessService's call that is needed; `services.query.completeness.CompletenessServicer` is the real one."""

    async def ProveComplete(  # noqa: N802 - the name in the proto
        self, request: completeness_pb2.ProveCompleteRequest, context: Context
    ) -> completeness_pb2.ProveCompleteResponse:
        """Prove which entries have names; the look is recorded before this returns."""
        ...


class Piece(msgspec.Struct, frozen=True):
    """Pages of a run with their range proof, as `verifyRows` of verify.js takes them."""

    first: int
    hashes: list[bytes]
    pages: bytes


class Part(msgspec.Struct, frozen=True):
    """The leaf's part."""

    content: bytes
    name: str
    salt: bytes


class Leaf(msgspec.Struct, frozen=True):
    """The newest entry of the log `index` with its proof."""

    entry: bytes
    index: int
    parts: list[Part]
    proof: list[bytes]


class Proof(msgspec.Struct, frozen=True):
    """What `verifyComplete` of verify.js takes, byte strings in base64."""

    key: str
    leaf: Leaf
    note: str
    pieces: list[Piece]
    secret: bytes


class Offer:
    """Says to whom proofs, and with them the index secret, are given."""

    def __init__(self, settings: WebSettings, token: str | None) -> None:
        """Offer as the settings say; `token` is the one for the index, None where none is set up."""
        self._to, self._token = settings.complete, token

    def is_for(self, request: Request) -> bool:
        """Say whether who asks gets them; `local` is what holds over gRPC for who shows no token."""
        who, host = principal(), request.client.host if request.client else ""
        if self._to == "local":
            return who.is_any(*GIVEN_ROLES) and self._token is None and is_local(host)
        roles = {"off": (), "auditors": (Role.AUDITOR,), "signed-in": GIVEN_ROLES}[self._to]
        return who.is_any(*roles)

    def context(self) -> Context:
        """Give the context of the call, which shows the token."""
        return cast("Context", _Call(self._token or ""))


class CompletePages:
    """Answers the requests for proofs of completeness."""

    def __init__(self, pages: WebPages, proving: Proving, offer: Offer, secret: bytes) -> None:
        """Prove by `proving` to whom `offer` says; `secret` is the index secret."""
        self._pages, self._proving, self._offer, self._secret = pages, proving, offer, secret

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        """See MorePages."""
        return (("GET", "/complete", self.complete),)

    async def complete(self, request: Request, _visit: Visit) -> Response:
        """Give the proof of all entries that name a key: recorded as a look of its own. 404 where it is not given, or there is none."""
        if not self._offer.is_for(request):
            raise NotFoundError("proofs of completeness are not given here", "key")
        key = self._pages.key(request)
        name = completeness_pb2.Name(kind=completeness_pb2.NAME_KIND_KEY, text=key)
        asked = completeness_pb2.ProveCompleteRequest(names=[name], purpose=PURPOSE)
        try:
            answer = await self._proving.ProveComplete(asked, self._offer.context())
        except OutOfRangeError as error:
            raise NotFoundError("there is no index yet", "key") from error
        proof = _proof(key, answer, self._secret)
        if not _is_whole(proof):
            raise NotFoundError("there are too many entries to prove them on a page", "key")
        # Never compressed: a secret beside what the caller chose could be guessed by the size (BREACH).
        return Response(msgspec.json.encode(proof), 200, {"Cache-Control": "no-store"}, "application/json")


def _proof(key: str, answer: completeness_pb2.ProveCompleteResponse, secret: bytes) -> Proof:
    leaf = answer.leaf
    return Proof(
        key=key,
        leaf=Leaf(
            entry=leaf.entry,
            index=leaf.index,
            parts=[Part(each.content, each.name, each.salt) for each in leaf.parts],
            proof=list(leaf.inclusion_proof),
        ),
        note=answer.index.note,
        pieces=[
            Piece(each.first_page, list(each.hashes), each.pages)
            for proof in answer.proofs[:1]
            for each in proof.pieces
        ],
        secret=secret,
    )


def _is_whole(proof: Proof) -> bool:
    """Say whether the pieces are all that there are. Raises: ProofError where our own proof does not verify."""
    content = next((each.content for each in proof.leaf.parts if each.name == INDEX_PART), b"")
    rows = TagRows(leaves.decode(content), entries.tag(proof.secret, TagKind.KEY, proof.key))
    for each in proof.pieces:
        rows.add(RunPages(each.first, each.pages, tuple(each.hashes)))
    return rows.is_whole


class _Call:
    """What CompletenessService reads of its context: whoever the offer is for is let through."""

    def __init__(self, token: str) -> None:
        self._token = token

    def peer(self) -> str:
        """Name this machine."""
        return "unix:"

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        """Show the token for the index."""
        return ((TOKEN_METADATA, self._token),)
