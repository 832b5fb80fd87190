"""The client of rejections and its command: pages are followed, refusals told apart from outages, wrong usage named."""

import httpx
import pytest
from click.testing import CliRunner

from goodstrace.capture import Problem
from goodstrace.cli.main import cli
from goodstrace.errors import CallError
from goodstrace.rejected import RejectedClient, Resubmitted

RECORDS = 450


def answer(request: httpx.Request) -> httpx.Response:
    """A collector with RECORDS rejections, whose page tokens are numbers."""
    if request.url.path == "/rejections/v1":
        start = int(request.url.params.get("pageToken", 0))
        end = min(RECORDS, start + int(request.url.params["limit"]))
        page = {"rejections": [{"recordID": str(number)} for number in range(start, end)]}
        return httpx.Response(200, json=page | ({"nextPageToken": str(end)} if end < RECORDS else {}))
    status = int(request.url.path.split("/")[3])
    if status == 202:
        return httpx.Response(202, json={"recordIDs": ["r"]}, headers={"Location": "/epcis/v2/capture/c"})
    return httpx.Response(status, json={"title": "T", "detail": "D", "errors": [{"pointer": "/a"}]})


@pytest.fixture
def client() -> RejectedClient:
    return RejectedClient("http://collector", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("limit", "count"), [(None, RECORDS), (1, 1), (200, 200), (201, 201), (1000, RECORDS)]
)
def test_pages_are_followed_as_far_as_asked(client: RejectedClient, limit: int | None, count: int) -> None:
    found = list(client.list(limit=limit))
    assert [each["recordID"] for each in found] == [str(number) for number in range(count)]


def test_what_is_refused_again_is_a_value_and_an_outage_an_error(client: RejectedClient) -> None:
    assert client.resubmit("202") == Resubmitted("202", "/epcis/v2/capture/c", ("r",))
    for status in (400, 409, 410, 413):
        told = client.resubmit(str(status))
        assert isinstance(told, Problem)
        assert told.lines()[0] == f"{status} T: D"
    for status in (404, 503):
        with pytest.raises(CallError, match=str(status)):
            client.resubmit(str(status))
    assert client.content("404") is None


def test_the_list_shows_whole_ids_and_no_markup_on_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = {
        "recordID": "0190f3c2a7b17c1e9d3f5a6b7c8d9e0f",
        "recordTime": "2026-11-28T07:00:00.123Z",
        "reason": "INVALID",
        "stage": "collect",
        "merchant": 1_000_001,
        "detail": "[/x] :fish:",
    }
    monkeypatch.setattr(RejectedClient, "list", lambda *_, **__: [row])
    monkeypatch.setattr("goodstrace.cli.display._FILE_WIDTH", 80)
    done = CliRunner().invoke(cli, ["rejected", "list", "--url", "http://127.0.0.1:1"])
    assert done.exit_code == 0
    assert row["recordID"] in done.stdout
    assert "[/x]" in done.stdout
    assert ":fish:" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a", "--all"],
        ["a", "--reason", "INVALID"],
        ["a", "b", "--with", __file__],
        ["--all", "--with", __file__],
    ],
)
def test_wrong_usage_is_named_before_anything_is_sent(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, ["rejected", "resubmit", *arguments, "--url", "http://127.0.0.1:1"])
    assert done.exit_code == 2
    assert "Error" in done.output
