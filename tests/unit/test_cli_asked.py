"""What the command line is asked about: keys as it prints them and as people type them, and steps."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.asked_keys import is_uri, key_asked, key_of_path
from goodstrace.cli import goods as goods_cli
from goodstrace.cli import prove as prove_cli
from goodstrace.cli import recall as recall_cli
from goodstrace.cli import trace as trace_cli
from goodstrace.cli.display import short
from goodstrace.cli.main import cli
from goodstrace.cli.registry import _key
from goodstrace.errors import CallError
from goodstrace.log_keys import is_log
from goodstrace.registry_files import GOODS, PLACES
from goodstrace.visibility import Visibility, VisibilityPolicy
from services.query.web.asking import spoken
from tests.unit.visible_world import EVENTS, ITEM, MAKER, PREFIXES, World

OPEN = {number: VisibilityPolicy(Visibility.PUBLIC) for number in PREFIXES}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    world = World(OPEN)
    for module in (trace_cli, recall_cli, goods_cli):
        monkeypatch.setattr(module, "connect", lambda **_: world.client(MAKER))

    def ran(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments))

    return ran


@pytest.mark.parametrize("command", ["trace", "recall"])
def test_the_title_that_is_printed_is_a_key_that_is_taken(run: Any, command: str) -> None:
    printed = short(key_asked(ITEM) or "")
    assert printed.startswith("(01)")
    by_key, by_title = run(command, key_asked(ITEM) or ""), run(command, printed)
    assert by_title.exit_code == by_key.exit_code == 0, by_title.output
    assert "nothing sealed names this key" not in by_title.stdout
    without = [line for line in by_title.stdout.splitlines() if "recorded as" not in line]
    assert without == [line for line in by_key.stdout.splitlines() if "recorded as" not in line]
    assert by_title.stderr == ""


@given(
    st.from_regex(r"[0-9]{13}", fullmatch=True),
    st.sampled_from(("10", "21")),
    st.text(
        st.characters(min_codepoint=0x21, max_codepoint=0x7E),
        min_size=1,
        max_size=20,
    ),
)
def test_every_title_is_read_back(digits: str, ai: str, value: str) -> None:
    weighed = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(digits))
    key = key_of_path(f"/01/{digits}{-weighed % 10}/{ai}/{quote(value, safe='')}")
    if key is not None:
        assert key_asked(short(key)) == key
        assert key_asked(spoken(key)) == key


@pytest.mark.parametrize("command", ["trace", "recall", "goods"])
def test_the_title_of_a_serial_with_a_bracket_is_a_key_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    serial = "urn:epc:id:sgtin:9521231.054321.A(B"
    world = World(OPEN, events=json.loads(json.dumps(EVENTS).replace(ITEM, serial)))
    for module in (trace_cli, recall_cli, goods_cli):
        monkeypatch.setattr(module, "connect", lambda **_: world.client(MAKER))
    printed = CliRunner().invoke(cli, [command, serial]).stdout.splitlines()[0].split(" ")
    title = printed[2 if command == "recall" else 0]
    done = CliRunner().invoke(cli, [command, title])
    assert done.exit_code == 0
    assert done.stderr == ""
    assert "nothing sealed" not in done.stdout


@pytest.mark.parametrize(
    "key", ["https://id.gs1.org/voc/Site", "https://id.gs1.org/01", "https://id.gs1.org/"]
)
def test_what_is_only_like_a_gs1_key_has_itself_as_its_title(key: str) -> None:
    assert short(key) == spoken(key) == key


@pytest.mark.parametrize("command", ["trace", "recall"])
def test_of_a_key_that_nothing_names_it_says_so(run: Any, command: str) -> None:
    done = run(command, "09521234543220")
    assert done.exit_code == 0
    assert "nothing sealed names this key" in done.stdout
    assert "nothing is left out" not in done.stdout
    assert "neither a URI" not in done.stderr
    named = run(command, ITEM)
    assert "nothing sealed names this key" not in named.stdout


def test_a_size_that_is_no_number_to_all_is_wrong_usage(run: Any) -> None:
    done = run("trace", ITEM, "--as-of", "goods/0=²")
    assert done.exit_code == 2
    assert "--as-of wants LOG=SIZE" in done.stderr


def test_events_that_are_not_asked_for_are_not_said_to_be_missing(run: Any) -> None:
    done = run("trace", ITEM, "--step", "disposal")
    assert done.exit_code == 0
    assert "none of the events is of those asked for" in done.stdout
    assert "nothing sealed names this key" not in done.stdout


@pytest.mark.parametrize("key", ["hello", "(01)09525457000189", "1234567890123", "09525457000189"])
def test_what_no_event_can_name_is_warned_of(run: Any, key: str) -> None:
    done = run("recall", key)
    assert "is neither a URI nor a GS1 key" in done.stderr
    assert "nothing sealed names this key" in done.stdout
    assert "neither a URI" not in run("recall", "urn:x:1").stderr


@pytest.mark.parametrize("key", ["", "  ", "x" * 2049])
def test_nothing_and_too_much_are_refused_before_anybody_is_asked(run: Any, key: str) -> None:
    done = run("trace", key)
    assert done.exit_code == 2
    assert "a key has 1 to 2048 characters" in done.stderr


@pytest.mark.parametrize(
    ("text", "uri"), [("urn:x:1", True), ("https://a", True), ("a b:c", False), ("x", False), ("1:2", False)]
)
def test_a_uri_has_a_scheme(text: str, uri: bool) -> None:
    assert is_uri(text) is uri


def test_a_step_that_there_is_not_is_refused_with_those_that_there_are(run: Any) -> None:
    done = run("trace", ITEM, "--step", "nosuch")
    assert done.exit_code == 2
    assert "'logistics'" in done.stderr


def test_a_word_of_ones_own_may_be_subscribed_to_and_is_warned_of() -> None:
    done = CliRunner().invoke(cli, ["subscribe", "--step", "shiping", "--log-keys", "nowhere"])
    assert "is shipping meant?" in done.stderr
    done = CliRunner().invoke(cli, ["subscribe", "--step", "https://a.example/wash", "--log-keys", "nowhere"])
    assert "no standard knows" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "text", "key"),
    [
        (GOODS, "9521234543213", "https://id.gs1.org/01/09521234543213"),
        (GOODS, "10614141073464", "https://id.gs1.org/01/10614141073464"),
        (PLACES, "4012345000009", "https://id.gs1.org/414/4012345000009"),
        (PLACES, "(414)4012345000009", "https://id.gs1.org/414/4012345000009"),
        (GOODS, "(01)09521234543213", "https://id.gs1.org/01/09521234543213"),
    ],
)
def test_what_is_registered_is_asked_for_in_any_spelling(kind: str, text: str, key: str) -> None:
    assert _key(text, kind) == key == (key_of_path(key.removeprefix("https://id.gs1.org")))


@pytest.mark.parametrize("log", ["goods/0", "browse/12", "root", "index"])
def test_a_log_without_an_index_is_not_looked_up_as_an_event(log: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["prove", log, "--out", str(tmp_path / "proof")])
    assert done.exit_code == 2
    assert f"{log} is a log: name the INDEX" in done.stderr


@given(st.from_regex(r"(urn:x:|ni:///sha-256;|https://a\.example/)[a-z0-9/]{1,20}", fullmatch=True))
def test_no_event_id_is_taken_for_a_log(event_id: str) -> None:
    assert not is_log(event_id)


def test_a_place_is_taken_as_it_is_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    class Asked:
        def proof_file(self, log: str, index: int, _size: int) -> None:
            asked.append((log, index))
            raise CallError("NOT_FOUND", "this is as far as it goes")

        def event(self, event_id: str) -> tuple[()]:
            asked.append((event_id, -1))
            return ()

    monkeypatch.setattr(prove_cli, "connect", lambda **_: nullcontext(Asked()))
    for what in (["goods/0[12]"], ["goods/0", "12"], ["root[3]"], ["urn:x:a[12]"], ["goods/0[²]"]):
        CliRunner().invoke(cli, ["prove", *what, "--out", str(tmp_path / "proof")])
    assert asked == [("goods/0", 12), ("goods/0", 12), ("root", 3), ("urn:x:a[12]", -1), ("goods/0[²]", -1)]
