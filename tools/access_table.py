"""Writes the table of docs/access.md from the one that is enforced: `python -m tools.access_table [--check]`."""

from collections.abc import Iterator
from pathlib import Path

from services.runtime.access.table import TABLE, Row
from services.runtime.access.values import GIVEN_ROLES, Role
from tools.made_files import ROOT, write_or_check

PAGE = ROOT / "docs" / "access.md"
_BEGIN, _END = "<!-- table -->\n", "<!-- end of table -->\n"


def page() -> str:
    """Give the page as it is, with the table as it must be."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return head + _BEGIN + "\n" + "".join(_lines()) + "\n" + _END + tail


def _lines() -> Iterator[str]:
    services = dict.fromkeys(row.service for row in TABLE)
    for number, service in enumerate(services):
        if number:
            yield "\n"
        yield f"### {service}\n\n"
        yield "| operation | " + " | ".join(role.value for role in GIVEN_ROLES) + " | narrowed |\n"
        yield "|---|" + "---|" * (len(GIVEN_ROLES) + 1) + "\n"
        for row in TABLE:
            if row.service == service:
                yield _line(row)


def _line(row: Row) -> str:
    everybody = Role.ANYBODY in row.roles
    marks = ["all" if everybody else "yes" if role in row.roles else "" for role in GIVEN_ROLES]
    operation = row.operation.removeprefix("/").rpartition("goodstrace.")[2]
    return f"| `{operation}` | " + " | ".join(marks) + f" | {row.note} |\n"


def made() -> dict[Path, str]:
    """Give the page by its path from the root of the repository."""
    return {PAGE.relative_to(ROOT): page()}


if __name__ == "__main__":
    write_or_check("tools.access_table", made)
