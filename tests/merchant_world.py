"""The pages of merchants over the salmon of `tests/web_world.py`, in memory: for unit tests, browsers and pictures."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace import facts as facts_format
from goodstrace.audit.v1 import audit_pb2
from goodstrace.claims import Claims
from goodstrace.facts import GOODS_ROLES, Verdict
from goodstrace.identifiers import class_of
from goodstrace.query.v1 import login_pb2
from services.collector.flagged import flagged
from services.collector.flow import FACTS_PART
from services.query.flagged_events import Place
from services.query.metrics import QueryMetrics
from services.query.own_keys import KeyRange
from services.query.shown import Shown
from services.query.sight import Sight
from services.query.web.forms import Forms
from services.query.web.merchant.serving import merchant_pages
from services.query.web.neighbours import Asker
from services.query.web.pages import WebPages
from services.query.web.routes import MorePages
from services.query.web.settings import WebSettings
from services.query.web.signing_in import WebSignIn
from services.runtime.access.current import principal
from services.runtime.access.values import Means, Principal, Role
from services.runtime.call_errors import AlreadyExistsError, InvalidRequestError, NotFoundError
from services.runtime.envelope import Record
from services.runtime.merchants.errors import ForbiddenError
from services.runtime.merchants.flagged import FlaggedEvent
from tests.unit.collector_builders import SECRET, events_of, sealed_events
from tests.web_world import EVENTS, FARM, PREFIXES, RECALL, WORKS, WebWorld


def person(merchant: int, name: str = "mia") -> Principal:
    """One of a merchant's people."""
    return Principal(
        means=Means.TOKEN,
        account=f"{merchant:032x}",
        name=name,
        roles=frozenset((Role.MERCHANT,)),
        merchant=merchant,
        session="s",
    )


class MemoryKeys:
    """The goods that some records name, and products that merchants have registered."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.keys: set[str] = set()
        self.asked = 0
        for record in records:
            facts = facts_format.decode(record.part(FACTS_PART).content)
            named = {key for role in GOODS_ROLES for key in facts.keys.get(role, ())}
            self.keys |= named | {product for key in named if (product := class_of(key))}

    async def there(self, key_range: KeyRange, limit: int) -> list[str]:
        self.asked += 1
        first, end = key_range
        return sorted(key for key in self.keys if first <= key < end)[:limit]

    async def known(self, keys: Sequence[str]) -> list[str]:
        return sorted(self.keys & set(keys))

    async def products(self, merchant: int, limit: int) -> list[str]:
        own = Claims(prefixes=(PREFIXES[merchant],))
        return sorted(key for key in self.keys if class_of(key) is None and own.cover(key))[:limit]


class MemoryFlagged:
    """Flagged events, newest first."""

    def __init__(self, events: Sequence[FlaggedEvent]) -> None:
        self.events = sorted(events, key=lambda each: (each.record_ms, each.id), reverse=True)

    async def page(self, merchant: int, name: str, before: Place | None, limit: int) -> list[FlaggedEvent]:
        found = [
            each
            for each in self.events
            if each.merchant == merchant
            and (not name or name in {finding.name for finding in each.findings})
            and (before is None or (each.record_ms, each.id) < before)
        ]
        return found[:limit]


def noticed(record: Record, *verdicts: Verdict) -> Record:
    """A record in whose event rules found something."""
    parts = []
    for part in record.parts:
        if part.name == FACTS_PART:
            known = msgspec.structs.replace(facts_format.decode(part.content), verdicts=verdicts)
            parts.append(msgspec.structs.replace(part, content=facts_format.encode(known)))
        else:
            parts.append(part)
    return msgspec.structs.replace(record, parts=tuple(parts))


class MemoryRegistry:
    """The collector's registry; it knows by their prefix whose a key is."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.tokens: list[str] = []
        self.fails_with: Exception | None = None

    async def registry(self, asker: Asker, ask: Callable[[Any], Any]) -> Any:
        self.tokens.append(asker.token)
        if self.fails_with:
            raise self.fails_with
        return ask(self)

    def register(self, kind: str, content: dict[str, Any], *, patience_s: float) -> dict[str, Any]:
        assert patience_s == 0
        if not Claims(prefixes=(PREFIXES[WORKS],)).cover(content["key"]):
            raise ForbiddenError("not the merchant's")
        self.rows[kind, content["key"]] = content
        return {"key": content["key"]}

    def registered(self, kind: str, key: str) -> dict[str, Any]:
        if (kind, key) not in self.rows:
            raise NotFoundError("no such goods")
        return {"key": key, "content": self.rows[kind, key]}

    def page_registered(self, kind: str, after: str = "", limit: int = 0) -> list[dict[str, Any]]:
        keys = sorted(key for what, key in self.rows if what == kind and key > after)
        return [{"key": key, "content": self.rows[kind, key]} for key in keys[:limit]]


LOOKS = [
    ("2026-04-14", 241, {("shopper", ""): 214, ("shopper", "sale"): 203, ("merchant", ""): 12, ("merchant", "logistics"): 9}),
    ("2026-04-15", 388, {("shopper", ""): 371, ("shopper", "sale"): 352, ("anybody", ""): 8}),
    ("2026-04-16", None, {}),
]  # fmt: skip
"""Who looked, by day: all in all where that is told, then by role and step."""


class MemoryAudit(MemoryRegistry):
    """The audit service's counts, beside the registry."""

    async def goods_browses(self, asker: Asker, request: Any) -> audit_pb2.CountGoodsBrowsesResponse:
        self.tokens.append(asker.token)
        self.days = (request.first_day, request.last_day)
        if self.fails_with:
            raise self.fails_with
        answer = audit_pb2.CountGoodsBrowsesResponse(
            merchant=principal().merchant, least_viewers=5, counted_until="2026-04-16", browse_id="cd" * 16
        )
        for day, total, counts in LOOKS:
            told = answer.days.add(day=day)
            if total is not None:
                told.total_viewers = total
            for (role, step), viewers in counts.items():
                told.counts.add(role=role, step=step, viewers=viewers)
        return answer


class MemoryPeople:
    """AccountService for the people of the merchant that calls."""

    def __init__(self) -> None:
        self.accounts = {
            name: login_pb2.Account(
                id=f"{number:032x}", name=name, kind="user", status="active", merchant=WORKS
            )
            for name, number in (("mia", WORKS), ("bea", 90))
        }
        self.asked: list[Any] = []

    async def CreateAccount(self, request: Any, context: Any) -> login_pb2.CreateAccountResponse:  # noqa: N802
        del context
        self.asked.append(request)
        name = request.account.name
        if name in self.accounts:
            raise AlreadyExistsError("taken", "account.name")
        if not re.fullmatch(r"[a-z0-9._@-]{1,64}", name):
            raise InvalidRequestError("no name", "account.name")
        made = login_pb2.Account(
            id="ff", name=name, kind="user", status="active", merchant=principal().merchant
        )
        self.accounts[name] = made
        return login_pb2.CreateAccountResponse(account=made, credential="three quiet owls")

    async def ListAccounts(self, request: Any, context: Any) -> login_pb2.ListAccountsResponse:  # noqa: N802
        del request, context
        own = [each for each in self.accounts.values() if each.merchant == principal().merchant]
        return login_pb2.ListAccountsResponse(accounts=own)

    async def UpdateAccount(self, request: Any, context: Any) -> login_pb2.UpdateAccountResponse:  # noqa: N802
        del context
        self.accounts[request.account].status = request.status
        return login_pb2.UpdateAccountResponse()

    async def ResetCredential(self, request: Any, context: Any) -> login_pb2.ResetCredentialResponse:  # noqa: N802
        del context
        self.asked.append(request)
        return login_pb2.ResetCredentialResponse(credential="five loud hens")


class MerchantWorld(WebWorld):
    """The pages with those of merchants; `who` is one of the works' people."""

    def __init__(
        self,
        events: Sequence[tuple[int, Any]] = EVENTS,
        *,
        flagged_events: Sequence[FlaggedEvent] | None = None,
        who: Principal | None = None,
        **more: Any,
    ) -> None:
        records = sealed_events(events)
        self.keys = MemoryKeys(records)
        warm = noticed(records[4], Verdict("storage-too-warm", "critical", "", "7 °C, and 4 °C at the most"))
        late = noticed(records[2], Verdict("past-best-before", "warning", "", "best before 2026-04-10"))
        other = noticed(records[0], Verdict("sensor-alarm", "info"))
        self.flagged = MemoryFlagged(
            list(flagged(events_of([warm, late, other]))) if flagged_events is None else flagged_events
        )
        self.registry, self.people = MemoryAudit(), MemoryPeople()
        sign_in: Any = object.__new__(WebSignIn)  # nobody signs in here: who calls is said by `who`
        sign_in.forms, sign_in._public_url = Forms(SECRET, ""), ""
        super().__init__(events, who=who or person(WORKS), sign_in=sign_in, **more)

    def more_pages(self, pages: WebPages, settings: WebSettings) -> Sequence[MorePages]:
        del settings
        self.recalling: Any = self.servicer
        reader: Any = self.logs
        recorder: Any = self
        self.registry_of_metrics = CollectorRegistry()
        metrics = QueryMetrics(self.registry_of_metrics)
        return (
            merchant_pages(
                pages,
                reader,
                Shown(recorder, metrics, structlog.get_logger()),
                keys=self.keys,
                flagged=self.flagged,
                sight=Sight(None),
                claims=self.claims,
                secret=SECRET,
                recalling=self,
                recall_timeout_s=30,
                forms=Forms(SECRET, ""),
                neighbours=self.registry,
                accounts=self.people,
                log=structlog.get_logger(),
            ),
        )

    @property
    def records_shown(self) -> float:
        """How many records the pages of merchants have counted as shown."""
        return self.registry_of_metrics.get_sample_value("goodstrace_query_records_shown_total") or 0

    async def Recall(self, request: Any, context: Any) -> None:  # noqa: N802 - the name in the proto
        """TraceService's, which tests may take the place of."""
        await self.recalling.Recall(request, context)

    async def claims(self, merchant: int) -> Claims | None:
        return Claims(prefixes=(PREFIXES[merchant],)) if merchant in PREFIXES else None


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[MerchantWorld, str]]:
    """A world with a recall, and where its pages are."""
    world = MerchantWorld([*EVENTS, RECALL])
    with world.served() as url:
        yield world, url


__all__ = ["FARM", "WORKS", "MemoryFlagged", "MemoryKeys", "MerchantWorld", "noticed", "person", "served"]
