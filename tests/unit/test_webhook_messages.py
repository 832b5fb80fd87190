"""One message of a webhook: the same for ever once it is fixed, and cut where its events do not go together."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.visibility import EVERYTHING
from services.query.forward import Forward, SeenBy
from services.query.sight import Eyes
from services.query.webhooks import message as messages
from services.query.webhooks.asked import wanted_of
from services.query.webhooks.values import Locked, Progress, Webhook
from services.sealing.values import SealedRecord
from tests.unit.collector_builders import SECRET, object_event
from tests.unit.epcis_builders import MemoryLogs, sealed

ONE, OTHER = "https://one.example/", "https://other.example/"


class Logs(MemoryLogs):
    async def find_from(
        self, log: str, tags: list[bytes], first: int, size: int, limit: int
    ) -> list[SealedRecord]:
        found = [each for each in self.records_of[log][first:size] if not set(tags).isdisjoint(each.tags)]
        return found[:limit]


def webhook(definition: Mapping[str, Any], positions: dict[str, int]) -> Webhook:
    return Webhook(
        "ab" * 16, "q", dict(definition), "https://a.example/", Locked(b""), "ann", 0, Progress(positions)
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([ONE, OTHER, None]), max_size=12),
    st.sampled_from([{}, {"EQ_bizStep": ["shipping"]}, {"MATCH_anyEPC": ["urn:epc:id:sgtin:0614141.107346.2017"]}]),
    st.sampled_from([1, 900, 100_000]),
)  # fmt: skip
async def test_messages_together_are_all_events_once_and_each_is_made_again_the_same(
    contexts: list[str | None], definition: dict[str, Any], most_bytes: int
) -> None:
    records = []
    for number, context in enumerate(contexts):
        head = {"@context": ["https://ref.gs1.org/standards/epcis/epcis-context.jsonld", {"x": context}]}
        event = object_event(
            eventID=f"urn:uuid:{number:032x}", bizStep="shipping" if number % 3 else "receiving"
        )
        records += sealed([event], **head if context else {})
    logs = Logs(records)
    sizes = {log: len(found) for log, found in logs.records_of.items()}
    wanted = wanted_of(definition, SECRET)
    positions: dict[str, int] = {}
    seen: list[tuple[str, int]] = []
    while positions != sizes:
        one = webhook(definition, positions)
        fixed = messages.pending(one, sizes, 1_700_000_000_000)
        made = [
            messages.message(
                one,
                fixed,
                await Forward(logs).gather(  # type: ignore[arg-type]
                    SeenBy(wanted, Eyes(EVERYTHING, None)),
                    positions,
                    sizes,
                    most_events=5,
                    most_bytes=most_bytes,
                ),
                most_bytes,
            )
            for _ in range(2)
        ]
        assert made[0] == made[1]
        document = json.loads(made[0].body)
        assert document["creationDate"] == "2023-11-14T22:13:20.000Z"
        results = document["epcisBody"]["queryResults"]
        assert (results["queryName"], results["subscriptionID"]) == ("q", "ab" * 16)
        prefixes = [each for each in document["@context"] if isinstance(each, dict) and "x" in each]
        for each in results["resultsBody"]["eventList"]:
            place = each["goodstrace:sealed"]
            seen.append((place["goodstrace:log"], place["goodstrace:index"]))
            number = int(each["eventID"][-4:], 16)
            assert contexts[number] is None or prefixes[0]["x"] == contexts[number]
        assert len(results["resultsBody"]["eventList"]) == len(made[0].events)
        assert made[0].after != positions or not sizes
        positions = made[0].after
    assert len(seen) == len(set(seen))
    count = (
        len(contexts)
        if "EQ_bizStep" not in definition
        else sum(number % 3 > 0 for number in range(len(contexts)))
    )
    assert len(seen) == count


def test_another_place_is_another_message() -> None:
    one, other = webhook({}, {"goods/0": 1}), webhook({}, {"goods/0": 2})
    assert messages.pending(one, {"goods/0": 5}, 1).id == messages.pending(one, {"goods/0": 5}, 2).id
    assert messages.pending(one, {"goods/0": 5}, 1).id != messages.pending(other, {"goods/0": 5}, 1).id
    assert messages.pending(one, {"goods/0": 5}, 1).id != messages.pending(one, {"goods/0": 6}, 1).id
