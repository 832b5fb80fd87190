"""The pages of a merchant, as their navigation lists them. Pure."""

from typing import Final

import msgspec


class Tab(msgspec.Struct, frozen=True):
    """A page: where, and the ID of its name in the catalogue."""

    path: str
    text: str


GOODS: Final = "/merchant"
FLAGS: Final = "/merchant/flags"
LOOKS: Final = "/merchant/looks"
RECALL: Final = "/merchant/recall"
PLACES: Final = "/merchant/places"
STAFF: Final = "/merchant/staff"
LABELS: Final = "/merchant/labels"
TABS: Final = (
    Tab(GOODS, "merchant.nav_goods"),
    Tab(FLAGS, "merchant.nav_flags"),
    Tab(LOOKS, "merchant.nav_looks"),
    Tab(RECALL, "merchant.nav_recall"),
    Tab(PLACES, "merchant.nav_places"),
    Tab(STAFF, "merchant.nav_staff"),
    Tab(LABELS, "merchant.nav_labels"),
)
