"""What stands at the top of every page for who has the role. Pure."""

from typing import Final

import msgspec

from services.runtime.access.values import Principal, Role


class Section(msgspec.Struct, frozen=True):
    """A part of the pages: for whom, where, and the ID of its name in the catalogue."""

    role: Role
    path: str
    text: str


SECTIONS: Final = (
    Section(Role.MERCHANT, "/merchant", "merchant.title"),
    Section(Role.AUDITOR, "/auditor", "auditor.title"),
    Section(Role.OPERATOR, "/operator", "operator.title"),
)
"""In their order; `services.runtime.access.table` says who may open what."""


def sections_of(who: Principal) -> tuple[Section, ...]:
    """List the sections of who has an account with their role; that of merchants for who acts for one."""
    return tuple(
        each
        for each in SECTIONS
        if who.is_any(each.role) and (each.role is not Role.MERCHANT or who.merchant)
    )
