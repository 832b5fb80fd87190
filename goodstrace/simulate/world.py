"""The parties of one simulation, and the numbers they hand out."""

from __future__ import annotations

import datetime as dt
import random
from typing import NamedTuple

from goodstrace.grouping import grouped
from goodstrace.simulate import identifiers
from goodstrace.simulate.identifiers import Gtin, Key
from goodstrace.simulate.themes import THEMES, PartySpec, Theme

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - local times are written with the party's own offset
URN, LINKED, MIXED = 0, 1, 2


class Party(NamedTuple):
    """One organisation with one site, and how it writes what it records."""

    number: int
    spec: PartySpec
    company: str
    identity: Key
    site: Key
    dock: Key
    thermometer: Key
    gln: str
    offset: str
    spelling: int
    in_utc: bool

    def local_time(self, time_s: int) -> str:
        """Write Unix time `time_s` as this party's clocks do, RFC 3339."""
        if self.in_utc:
            return (EPOCH + dt.timedelta(seconds=time_s)).isoformat() + "Z"
        shifted = dt.timedelta(seconds=time_s + self.spec.offset_min * 60)
        return (EPOCH + shifted).isoformat() + self.offset

    def local_date(self, time_s: int, days_later: int = 0) -> str:
        """Write the local calendar day `days_later` days after `time_s`, ISO 8601."""
        shifted = dt.timedelta(days=days_later, seconds=time_s + self.spec.offset_min * 60)
        return (EPOCH + shifted).date().isoformat()


class Branch(NamedTuple):
    """A theme with the parties and product classes that stand for it in one simulation."""

    theme: Theme
    parties: dict[str, list[Party]]
    classes: dict[str, Gtin]

    def one(self, role: str) -> Party:
        """Give the only party of `role`."""
        return self.parties[role][0]


class Numbers:
    """Hands out every number of a simulation once. `tag`, 40 bits of the seed, keeps simulations apart."""

    def __init__(self, rng: random.Random) -> None:
        self.tag = identifiers.base32(rng.getrandbits(40), 8)
        self._next = 0
        self._sscc_extension = str(rng.getrandbits(16) % 10)
        self._sscc_base = rng.getrandbits(32) % 900 * 1_000_000

    def fresh(self) -> str:
        """Give a number for a lot, serial, order or run: the tag and at least 4 characters of a counter."""
        self._next += 1
        return self.tag + identifiers.base32(self._next, 4)

    def container(self, company: str) -> Key:
        """Give the SSCC of a new logistic unit packed by `company`."""
        self._next += 1
        return identifiers.container(company, self._sscc_extension, (self._sscc_base + self._next) % 10**9)


def make_branches(rng: random.Random) -> list[Branch]:
    """Draw the company prefixes and spellings of all themes' parties; no prefix is used twice."""
    companies: list[str] = []
    count = sum(len(theme.parties) for theme in THEMES)
    while len(companies) < count:
        company = f"{identifiers.EXAMPLE_PREFIX}{rng.getrandbits(32) % 10_000:04d}"
        if company not in companies:
            companies.append(company)
    parties = [
        _make_party(index, spec, companies[index], index % 3)
        for index, spec in enumerate(spec for theme in THEMES for spec in theme.parties)
    ]
    branches: list[Branch] = []
    for theme in THEMES:
        own, parties = parties[: len(theme.parties)], parties[len(theme.parties) :]
        by_role = grouped((party.spec.role, party) for party in own)
        branches.append(Branch(theme, by_role, _make_classes(theme, by_role)))
    return branches


def _make_party(index: int, spec: PartySpec, company: str, spelling: int) -> Party:
    sign = "-" if spec.offset_min < 0 else "+"
    hours, minutes = divmod(abs(spec.offset_min), 60)
    identity = identifiers.party(company, "00000")
    return Party(
        number=index,
        spec=spec,
        company=company,
        identity=identity,
        site=identifiers.location(company, "00100"),
        dock=identifiers.location(company, "00100", "DOCK1"),
        thermometer=identifiers.asset(company, "T17"),
        gln=identity.link.rpartition("/")[2],
        offset=f"{sign}{hours:02d}:{minutes:02d}",
        spelling=spelling,
        in_utc=spec.role == "carrier",
    )


def _make_classes(theme: Theme, by_role: dict[str, list[Party]]) -> dict[str, Gtin]:
    """Give each product a class of its maker; raw goods are classed by whoever buys them, as co-operatives do."""
    owner = {theme.raw: by_role["mill"][0]}
    for stage in theme.stages:
        owner[stage.product] = by_role[stage.role][0]
        if stage.additive is not None:
            owner[stage.additive] = by_role["supplier"][0]
    return {
        product: identifiers.Gtin(party.company, "0", f"{10 + number:05d}")
        for number, (product, party) in enumerate(owner.items())
    }
