"""What people see is what was sealed: no character of it is taken for something else on its way to the terminal."""

import ast
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from goodstrace.cli import browses, display, verify
from goodstrace.cli.display import console, progress_console, short, write_as_is
from goodstrace.identifiers import canonical_key

ROOT = Path(__file__).parents[2]
SEALED = (
    '{"type":"ObjectEvent","epcList":["urn:fish:4711","urn:key:7"],\t"note":"[red]x[/red] :fish: \\\\[a]"}'
)


def printed(what: Any, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    console().print(what)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "key", ["urn:fish:4711", "urn:epc:id:bic:CSQU3054383", "urn:shop:package:7", "ex:key:box:1"]
)
def test_a_key_is_printed_as_it_is(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = short(canonical_key(key))
    assert printed(f"  [bold]{escape(shown)}[/bold]", capsys) == f"  {shown}\n"
    table = Table()
    table.add_column("key")
    table.add_row(escape(shown))
    assert f" {shown} " in printed(table, capsys)


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="\xa0"), max_size=60))
def test_any_text_is_printed_as_it_is(text: str) -> None:
    out = console()
    out.file, out.width = io.StringIO(), 1_000
    out.print(f"<[bold]{escape(text)}[/bold]>")
    assert out.file.getvalue() == f"<{text}>\n"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp"))))
def test_what_is_written_as_it_is_is_neither_wrapped_nor_replaced(text: str) -> None:
    out = Console(file=io.StringIO(), width=20)
    write_as_is(text, out)
    assert out.file.getvalue() == f"{text}\n"  # type: ignore[attr-defined] # the file is ours


def test_what_could_act_on_the_terminal_is_spelled_out() -> None:
    out = Console(file=io.StringIO())
    write_as_is("a\tb\r✔ \x1b[2Kc\x9b2J\u202eabc\u2028", out)
    assert out.file.getvalue() == "a\tb\\u000d✔ \\u001b[2Kc\\u009b2J\\u202eabc\\u2028\n"  # type: ignore[attr-defined] # the file is ours


def test_no_line_of_what_was_sealed_looks_like_one_of_ours() -> None:
    out = Console(file=io.StringIO())
    write_as_is(
        "  the part event is what was sealed: <a>\n  the part facts is what was sealed: {}\n</a>", out
    )
    first, *others = out.file.getvalue().splitlines()  # type: ignore[attr-defined] # the file is ours
    assert first == "  the part event is what was sealed: <a>"
    assert [line[:8].isspace() for line in others] == [True, True]


def test_what_was_sealed_is_shown_character_by_character(capsys: pytest.CaptureFixture[str]) -> None:
    content = SEALED + " " * 200 + "end"
    verify._show_entry(
        {
            "entry": {"id": "a", "kind": "event", "time_ms": 0},
            "index": 1,
            "origin": "x/fish:fish:/goods/0",
            "size": 2,
            "root": "r",
            "cosigned": {},
            "quorum": None,
            "unknown_signatures": 0,
            "by_retired_key": False,
            "parts": {"event": content},
        },
        console(),
    )
    told = capsys.readouterr().out
    assert f"the part event is what was sealed: {content}\n" in told
    assert "x/fish:fish:/goods/0" in told


def test_what_others_said_in_a_look_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"purpose": {"purpose": "[/x] recall :fish: [red]"}, "who": {"user": "[bold]eve"}}
    sealed = SimpleNamespace(
        entry=SimpleNamespace(time=0),
        parts={name: json.dumps(part).encode() for name, part in parts.items()},
        log="browse/0",
        index=3,
    )
    browses.show(SimpleNamespace(entries=[sealed], outcomes=["[shown]"]), console(), "urn:x:[/a]")  # type: ignore[arg-type] # what of it is read
    told = capsys.readouterr().out
    for each in ("[/x] recall :fish: [red]", "[bold]eve", "[shown]", "browse/0[3]", "Look-ups of urn:x:[/a]"):
        assert each in told


def test_only_one_place_makes_consoles() -> None:
    made = [
        str(file.relative_to(ROOT))
        for folder in ("goodstrace", "services", "deploy", "tools")
        for file in (ROOT / folder).rglob("*.py")
        if "Console" in (text := file.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Console")
    ]
    assert set(made) == {str(Path(display.__file__).relative_to(ROOT))}
    assert not progress_console()._emoji
    assert not console()._emoji
