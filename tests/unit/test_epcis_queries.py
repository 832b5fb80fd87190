"""EPCIS queries over HTTP: pages are one answer, each look is recorded before it is shown, and nothing is a 5xx."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace import entry as entries
from goodstrace.vocabulary import words
from services.query import epcis_service, epcis_walk
from services.query.epcis_document import EPCIS_CONTEXT
from services.query.epcis_matching import matches
from services.query.epcis_parameters import EVENT_TYPES, asked, pairs
from services.query.epcis_walk import found_in
from services.runtime.errors import UnavailableError
from services.sealing.values import SealedRecord
from tests.integration.looking import parts_of
from tests.unit.collector_builders import object_event
from tests.unit.epcis_builders import LINKS, PLACES, SERIALS, TIMES, Service, events, pages, sealed, shown
from tests.unit.test_epcis_matching import queries

ROOT = "/epcis/v2"
ORDERED = st.sampled_from(
    (
        "",
        "&orderBy=eventTime",
        "&orderBy=eventTime&orderDirection=ASC",
        "&orderBy=recordTime&eventCountLimit=3",
    )
)


def place_of(event: dict[str, Any]) -> tuple[str, int]:
    sealed_at = event["goodstrace:sealed"]
    return sealed_at["goodstrace:log"], sealed_at["goodstrace:index"]


def expected(service: Service, text: str) -> set[tuple[str, int]]:
    """The places of the events that a query means, by a look at every record."""
    query = asked(pairs(text.encode()), {}).query
    found = (found_in(record) for records in service.logs.records_of.values() for record in records)
    return {(each.log, each.index) for each in found if each and matches(query, each.facts, each.record_ms)}


def query_text(parameters: dict[str, list[str]]) -> str:
    return "&".join(f"{quote(name)}={quote('|'.join(values))}" for name, values in parameters.items())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(events(), max_size=12), queries(), st.integers(1, 4), st.sampled_from((200, 100_000)), ORDERED
)
async def test_pages_together_are_what_a_look_at_every_record_finds(
    listed: list[dict[str, Any]],
    parameters: dict[str, list[str]],
    per_page: int,
    page_bytes: int,
    order: str,
) -> None:
    service = Service(sealed(listed), page_bytes=page_bytes)
    text = query_text(parameters)
    async with service.client() as client:
        answers = await pages(client, f"{ROOT}/events?{text}{order}&perPage={per_page}")
        if answers[0].status_code == 413:
            assert order
            return
        found = shown(answers)
    places = [place_of(event) for event in found]
    wanted = expected(service, text)
    assert len(places) == len(set(places))
    if "eventCountLimit" in order:
        assert set(places) <= wanted
        assert len(places) == min(3, len(wanted))
    else:
        assert set(places) == wanted
    if "orderBy=eventTime" in order:
        times = [event["eventTime"] for event in found]
        assert times == sorted(times, reverse="ASC" not in order)
    assert len(service.topic.records) == len(answers)


@pytest.fixture
def service() -> Service:
    """Five events in two logs."""
    return Service(
        sealed(
            [
                object_event(
                    eventID=f"urn:uuid:{number:032x}",
                    eventTime=TIMES[number],
                    epcList=[SERIALS[number % 2]],
                    bizStep="shipping" if number else "receiving",
                    readPoint={"id": PLACES[0]},
                )
                for number in range(5)
            ]
        )
    )


async def test_an_answer_says_where_each_event_is_sealed_and_who_looked(service: Service) -> None:
    async with service.client() as client:
        url = f"{ROOT}/epcs/{quote(LINKS[1], safe='')}/events"
        answer = await client.get(url, headers={"goodstrace-user": "ann%20b", "goodstrace-purpose": "recall"})
        assert await client.get(f"{ROOT}/epcs/{LINKS[1]}/events?perPage=30") is not None
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["GS1-EPCIS-Version"], answer.headers["GS1-CBV-Version"]) == ("2.0.0", "2.0.0")
    assert "Link" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    found = shown([answer])
    assert {place_of(each) for each in found} == {("goods/1", 0), ("goods/1", 1)}
    assert {each["goodstrace:sealed"]["goodstrace:size"] for each in found} == {2}
    first, again = service.topic.records
    assert first.id.hex() == answer.headers["Goodstrace-Browse-ID"]
    assert parts_of(first) == {
        "who": {"network": "127.0.0.0/24", "user": "ann b"},
        "what": {
            "method": "QueryEvents",
            "keys": [LINKS[1]],
            "checkpoints": [{"log": "goods/0", "size": 3}, {"log": "goods/1", "size": 2}],
            "query": url,
        },
        "purpose": {"purpose": "recall"},
        "outcome": {"events": 2},
    }
    assert parts_of(again)["who"] == {"network": "127.0.0.0/24", "user": "anonymous"}


async def test_where_no_key_is_asked_for_the_record_names_what_was_shown(service: Service) -> None:
    async with service.client() as client:
        found = shown([await client.get(f"{ROOT}/bizSteps/receiving/events")])
    [record] = service.topic.records
    [event] = found
    assert parts_of(record)["what"]["keys"] == [event["goodstrace:sealed"]["goodstrace:eventHash"]]


async def test_events_by_id_and_none_of_it(service: Service) -> None:
    async with service.client() as client:
        answer = await client.get(f"{ROOT}/events/urn:uuid:{3:032x}")
        assert [each["eventTime"] for each in shown([answer])] == [TIMES[3]]
        event_hash = shown([answer])[0]["goodstrace:sealed"]["goodstrace:eventHash"]
        assert shown([await client.get(f"{ROOT}/events/{quote(event_hash, safe='')}")]) == shown([answer])
        missing = await client.get(f"{ROOT}/events/urn:uuid:none")
    assert (missing.status_code, missing.json()["type"]) == (404, "epcisException:NoSuchResourceException")
    assert len(service.topic.records) == 3  # that there is none is an answer too


async def test_nothing_is_shown_that_is_not_recorded(service: Service) -> None:
    service.topic.away = True
    async with service.client() as client:
        for path in ("events", "events/urn:uuid:x", "epcs", "readPoints", "bizSteps/shipping/events"):
            answer = await client.get(f"{ROOT}/{path}")
            assert answer.status_code == 503
            assert set(answer.json()) == {"type", "title", "status", "detail"}
            assert answer.headers["Retry-After"]
        assert (await client.get(f"{ROOT}/bizSteps")).status_code == 200
        service.topic.away, service.logs.away = False, True
        assert (await client.get(f"{ROOT}/events")).status_code == 503
    assert service.topic.records == []


async def test_a_token_is_good_for_its_query_and_its_logs_only(service: Service) -> None:
    async with service.client() as client:
        link = (await client.get(f"{ROOT}/events?perPage=2")).headers["Link"]
        target = link[1 : link.index(">")].removeprefix("http://public.test")
        token = target.rpartition("nextPageToken=")[2]
        for url in (
            f"{ROOT}/events?EQ_bizStep=shipping&nextPageToken={token}",
            f"{ROOT}/epcs?nextPageToken={token}",
            f"{ROOT}/bizSteps?nextPageToken={token}",
            f"{ROOT}/events?nextPageToken={token}A",
        ):
            answer = await client.get(url)
            assert (answer.status_code, answer.json()["parameter"]) == (400, "nextPageToken"), url
        service.logs.records_of["goods/1"].clear()
        assert (await client.get(target)).status_code == 400


async def test_what_is_sealed_between_pages_is_not_in_them(service: Service) -> None:
    more = Service(sealed([object_event(eventID=f"urn:x:{number}") for number in range(4)]))
    async with service.client() as client:
        first = await client.get(f"{ROOT}/events?perPage=2")
        assert first.headers["GS1-Next-Page-Token-Expires"] == "9999-12-31T23:59:59Z"
        for log, records in more.logs.records_of.items():
            service.logs.records_of[log] += records
        link = first.headers["Link"]
        rest = await pages(client, link[1 : link.index(">")].removeprefix("http://public.test"))
    assert len(shown([first, *rest])) == 5


async def test_a_page_looks_back_so_far_and_says_where_to_go_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epcis_service, "LOOKED_AT", 2)
    async with service.client() as client:
        answers = await pages(client, f"{ROOT}/events?EQ_bizStep=receiving")
        assert [len(shown([each])) for each in answers] == [0, 0, 1]
        by_place = await pages(client, f"{ROOT}/events?EQ_readPoint={PLACES[0]}&EQ_bizStep=receiving")
        assert [len(shown([each])) for each in by_place] == [0, 0, 1]
        lists = await pages(client, f"{ROOT}/epcs")
        assert {key for each in lists for key in each.json()["member"]} == set(LINKS[:2])
        assert len(lists) == 3


async def test_too_many_events_are_a_problem_of_the_standard(service: Service) -> None:
    service_of_two = Service(
        sealed([object_event(eventID=f"urn:x:{number}", epcList=[SERIALS[0]]) for number in range(3)]),
        max_events=2,
    )
    async with service.client() as client, service_of_two.client() as other:
        answer = await client.get(f"{ROOT}/events?EQ_readPoint={PLACES[0]}&maxEventCount=4")
        assert (answer.status_code, answer.json()["title"]) == (413, "QueryTooLargeException")
        [look] = [parts_of(record) for record in service.topic.records]
        assert (look["what"]["method"], look["outcome"]["events"]) == ("QueryEvents", 0), "the number is told"
        assert (
            await client.get(f"{ROOT}/events?EQ_readPoint={PLACES[0]}&maxEventCount=5")
        ).status_code == 200
        answer = await other.get(f"{ROOT}/epcs/{SERIALS[0]}/events?orderBy=eventTime")
        assert (answer.status_code, answer.json()["title"]) == (413, "QueryTooLargeException")
        answer = await client.get(f"{ROOT}/events?orderBy=eventTime")
        assert (answer.status_code, answer.json()["title"]) == (413, "QueryTooComplexException")
        answer = await client.get(f"{ROOT}/events?EQ_readPoint={'a' * 40_000}")
        assert (answer.status_code, answer.json()["title"]) == (414, "URITooLongException")


async def test_lists_of_values_are_paged(service: Service) -> None:
    async with service.client() as client:
        lists = {}
        for name in ("eventTypes", "bizSteps", "dispositions", "epcs", "readPoints", "bizLocations"):
            answers = await pages(client, f"{ROOT}/{name}?perPage=1")
            assert all(len(each.json()["member"]) <= 1 for each in answers)
            assert all(each.json()["@context"] == EPCIS_CONTEXT for each in answers)
            lists[name] = [value for each in answers for value in each.json()["member"]]
    assert tuple(lists["eventTypes"]) == EVENT_TYPES
    assert lists["bizSteps"] == sorted(words("bizstep"))
    assert lists["dispositions"] == sorted(words("disp"))
    assert set(lists["epcs"]) == set(LINKS[:2])
    assert set(lists["readPoints"]) == {"https://id.gs1.org/414/9521234000006"}
    assert lists["bizLocations"] == []
    recorded = [parts_of(record)["what"] for record in service.topic.records]
    assert {each["method"] for each in recorded} == {"ListValues"}
    assert {key for each in recorded for key in each["keys"]} == {*lists["epcs"], *lists["readPoints"]}


async def test_the_values_of_one_event_may_fill_many_pages() -> None:
    serials = [f"urn:epc:id:sgtin:9521234.054321.{number}" for number in range(100)]
    service = Service(sealed([object_event(epcList=serials)]))
    async with service.client() as client:
        answers = await pages(client, f"{ROOT}/epcs?perPage=30")
    assert [len(each.json()["member"]) for each in answers] == [30, 30, 30, 10]
    assert len({key for each in answers for key in each.json()["member"]}) == 100


@pytest.mark.parametrize(
    ("headers", "status", "parameter"),
    [
        ({"Accept": "application/xml"}, 406, "Accept"),
        ({"Accept": "application/json;q=0"}, 406, "Accept"),
        ({"Accept": "text/html, application/*;q=0.1"}, 200, ""),
        ({"GS1-EPC-Format": "Always_EPC_URN"}, 406, "GS1-EPC-Format"),
        ({"GS1-EPC-Format": "Never_Translates"}, 200, ""),
        ({"GS1-EPCIS-Min": "2.1"}, 406, "GS1-EPCIS-Min"),
        ({"GS1-EPCIS-Max": "1.2.0"}, 406, "GS1-EPCIS-Max"),
        ({"GS1-CBV-Min": "1.0", "GS1-CBV-Max": "3"}, 200, ""),
        ({"GS1-CBV-Min": "new"}, 400, "GS1-CBV-Min"),
        ({"goodstrace-user": ""}, 400, "goodstrace-user"),
        ({"goodstrace-user": "u" * 129}, 400, "goodstrace-user"),
        ({"goodstrace-purpose": "p" * 257}, 400, "goodstrace-purpose"),
    ],
)
async def test_headers_are_heeded(
    service: Service, headers: dict[str, str], status: int, parameter: str
) -> None:
    async with service.client() as client:
        answer = await client.get(f"{ROOT}/events", headers=headers)
    assert (answer.status_code, answer.json().get("parameter", "")) == (status, parameter)
    assert len(service.topic.records) == (status == 200)


async def test_json_ld_is_called_so(service: Service) -> None:
    async with service.client() as client:
        answer = await client.get(f"{ROOT}/events", headers={"Accept": "application/ld+json"})
    assert answer.headers["content-type"] == "application/ld+json"


async def test_there_is_nothing_else_and_the_description_names_every_path(service: Service) -> None:
    async with service.client() as client:
        for path in ("queries", "eventTypes/x", ""):
            answer = await client.get(f"{ROOT}/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        answer = await client.get(f"{ROOT}/eventTypes/QuantityEvent/events")
        assert answer.status_code == 404
        answer = await client.post(f"{ROOT}/events", content=b"{}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, OPTIONS")
        assert (await client.get("/docs")).status_code == 200
        described = (await client.get("/openapi.json")).json()["paths"]
    names = ("eventTypes", "epcs", "bizSteps", "bizLocations", "readPoints", "dispositions")
    assert set(described) == {
        f"{ROOT}/events",
        f"{ROOT}/events/{{event_id}}",
        *(f"{ROOT}/{name}" for name in names),
        *(f"{ROOT}/{name}/{{value}}/events" for name in names),
    }
    assert service.topic.records == []


PATHS = st.sampled_from(
    (
        "events",
        "events/",
        "events/x",
        "epcs",
        "epcs/%2F%FF/events",
        "bizSteps/a|b/events",
        "readPoints",
        "bizSteps",
    )
)
NAMES = st.sampled_from(
    (
        "MATCH_anyEPC",
        "EQ_bizTransaction_po",
        "LT_recordTime",
        "orderBy",
        "eventCountLimit",
        "perPage",
        "nextPageToken",
        "eventType",
        "EXISTS_errorDeclaration",
        "orderDirection",
        "maxEventCount",
    )
)
VALUES = st.one_of(
    st.binary(max_size=20).map(quote),
    st.text(st.characters(codec="ascii", exclude_categories=("Cc",), exclude_characters="#"), max_size=20),
    st.sampled_from(("eventTime", "ASC", "1", "99999999999999999999", "true", "2026-01-01T00:00:00Z", "a|b")),
)


@settings(max_examples=150, deadline=None)
@given(
    PATHS,
    st.lists(st.tuples(st.one_of(NAMES, st.text(max_size=8).map(quote)), VALUES), max_size=4),
)
async def test_no_query_string_is_a_fault_of_the_service(
    path: str, parameters: list[tuple[str, str]]
) -> None:
    service = FUZZED
    text = "&".join(f"{name}={value}" for name, value in parameters)
    async with service.client() as client:
        answer = await client.get(httpx.URL(f"http://query.test{ROOT}/{path}", query=text.encode("latin-1")))
    assert answer.status_code < 500, answer.text
    assert json.loads(answer.content)
    if answer.status_code != 200:
        assert answer.json()["type"].startswith("epcisException:")


FUZZED = Service(sealed([object_event(epcList=list(SERIALS))]))


async def test_options_tells_what_is_spoken_at_every_path_and_shows_nothing(service: Service) -> None:
    async with service.client() as client:
        for path in ("events", "events/urn:e:1", "epcs", "bizSteps/shipping/events", "readPoints"):
            answer = await client.options(f"{ROOT}/{path}")
            assert (answer.status_code, answer.headers["Allow"], answer.content) == (204, "GET, OPTIONS", b"")
            assert answer.headers["GS1-EPCIS-Min"] == answer.headers["GS1-CBV-Max"] == "2.0.0"
            assert answer.headers["GS1-EPC-Format"] == "Never_Translates"
        assert (await client.options(f"{ROOT}/queries")).status_code == 404
    assert not service.topic.records


def without(record: SealedRecord, *names: str) -> SealedRecord:
    return msgspec.structs.replace(
        record, parts=tuple(each for each in record.parts if each.name not in names)
    )


async def test_events_that_are_hidden_are_counted_where_they_are_meant() -> None:
    listed = [
        object_event(eventID=f"urn:e:{number}", bizStep=step)
        for number, step in enumerate(["shipping", "packing"] * 4)
    ]
    service = Service(sealed(listed))
    for log, index, gone in (
        ("goods/0", 0, ["event"]),
        ("goods/1", 0, ["event"]),
        ("goods/0", 1, ["event", "facts"]),
    ):
        records = service.logs.records_of[log]
        records[index] = without(records[index], *gone)
    epc = f"MATCH_epc={quote(listed[0]['epcList'][0])}"
    async with service.client() as client:
        for query, seen, hidden in (
            ("EQ_bizStep=shipping", 2, 2),  # one of packing says so by its facts, and one says nothing
            ("EQ_bizStep=packing", 3, 2),
            (epc, 5, 3),
            (f"{epc}&orderBy=eventTime", 5, 3),
            ("EQ_bizStep=inspecting", 0, 1),
        ):
            answers = await pages(client, f"{ROOT}/events?perPage=2&{query}")
            assert len(shown(answers)) == seen
            assert sum(int(each.headers.get("Goodstrace-Events-Hidden", 0)) for each in answers) == hidden
        gone = await client.get(f"{ROOT}/events/urn:e:0")
        assert (gone.status_code, gone.headers["Goodstrace-Events-Hidden"], shown([gone])) == (200, "1", [])
        assert "Goodstrace-Events-Hidden" not in (await client.get(f"{ROOT}/events/urn:e:3")).headers
        assert (await client.get(f"{ROOT}/events/urn:e:99")).status_code == 404


def at(record: SealedRecord, time_ms: int) -> SealedRecord:
    entry = msgspec.structs.replace(entries.decode(record.entry), time=time_ms)
    return msgspec.structs.replace(record, entry=entries.encode(entry))


@pytest.mark.parametrize("per_page", [1, 7, 1000])
async def test_a_walk_ends_where_all_that_is_left_was_sealed_before_the_record_time_asked_for(
    per_page: int,
) -> None:
    service = Service(sealed([object_event(eventID=f"urn:e:{number}") for number in range(600)]))
    start_ms = 1_800_000_000_000
    for log, records in service.logs.records_of.items():
        service.logs.records_of[log] = [at(each, start_ms + each.index * 60_000) for each in records]
    async with service.client() as client:
        since = datetime.fromtimestamp(start_ms / 1000 + 290 * 60, UTC).isoformat().replace("+", "%2B")
        answers = await pages(client, f"{ROOT}/events?GE_recordTime={since}&perPage={per_page}")
        assert len(shown(answers)) == 20
        if per_page == 1000:
            assert service.logs.read == 2 * epcis_walk.CHUNK
            service.logs.read = 0
            assert len(shown(await pages(client, f"{ROOT}/events?perPage=1000"))) == 600
            assert service.logs.read == 600


async def test_what_is_not_shown_since_no_token_can_be_sealed_is_not_recorded(service: Service) -> None:
    async def away() -> bytes:
        raise UnavailableError("the vault is away")

    records = [*service.logs.records_of["goods/0"], *service.logs.records_of["goods/1"]]
    without = Service(records, page_key=away)  # type: ignore[arg-type]  # sealed ones have all that is asked of them
    async with without.client() as client:
        for path in ("events", "epcs"):
            assert (await client.get(f"{ROOT}/{path}?perPage=1")).status_code == 503
        assert without.topic.records == []
        lists = await pages(client, f"{ROOT}/bizSteps?perPage=5")
    assert len(lists) > 1  # what the standard lists wants no vault
    assert [value for each in lists for value in each.json()["member"]] == sorted(words("bizstep"))
