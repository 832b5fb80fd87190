"""Three kinds of goods: who handles them, what is made of what, and how it is counted. All names are made up."""

from __future__ import annotations

from typing import NamedTuple

KILOGRAM = "KGM"
LITRE = "LTR"


class PartySpec(NamedTuple):
    """A party of a theme: its role, name, country (ISO 3166-1 alpha-2) and offset from UTC in minutes."""

    role: str
    name: str
    country: str
    offset_min: int


class Stage(NamedTuple):
    """One transformation: the role of the party that does it, what comes out, its yield, and what is added."""

    role: str
    product: str
    output_share: float
    additive: str | None = None


class Theme(NamedTuple):
    """A kind of goods. `stages` are six; a simulation of depth n uses the last n."""

    name: str
    raw: str
    unit: str
    item_size: float
    shelf_life_days: int | None
    cold: bool
    stages: tuple[Stage, ...]
    parties: tuple[PartySpec, ...]


TEA = Theme(
    name="tea",
    raw="Green tea leaf, hand plucked",
    unit=KILOGRAM,
    item_size=0.1,
    shelf_life_days=720,
    cold=False,
    stages=(
        Stage("mill", "Withered leaf", 0.7),
        Stage("mill", "Rolled leaf", 0.98),
        Stage("mill", "Oxidised leaf", 0.95),
        Stage("mill", "Black tea BOP", 0.45),
        Stage("factory", "Breakfast blend", 0.99, "Bergamot peel"),
        Stage("factory", "Breakfast tea 100 g pouch", 0.98, "Pouch film"),
    ),
    parties=(
        PartySpec("farm", "Kelani Ridge Estate", "LK", 330),
        PartySpec("farm", "Upper Dolok Smallholders", "LK", 330),
        PartySpec("farm", "Misty Hollow Gardens", "LK", 330),
        PartySpec("mill", "Kelani Leaf Works", "LK", 330),
        PartySpec("factory", "Harbour Tea Packers", "GB", 0),
        PartySpec("supplier", "Calder Ingredients and Film", "GB", 0),
        PartySpec("carrier", "Northway Freight", "GB", 0),
        PartySpec("distributor", "Midland Grocery Hub", "GB", 0),
        PartySpec("store", "Corner Pantry Leeds", "GB", 0),
        PartySpec("store", "Corner Pantry York", "GB", 0),
        PartySpec("store", "Pantry Online", "GB", 0),
    ),
)

YOGHURT = Theme(
    name="yoghurt",
    raw="Raw cow's milk",
    unit=LITRE,
    item_size=0.5,
    shelf_life_days=35,
    cold=True,
    stages=(
        Stage("mill", "Standardised milk", 0.97),
        Stage("mill", "Pasteurised milk", 0.99),
        Stage("factory", "Set yoghurt", 0.98, "Live culture"),
        Stage("factory", "Strained yoghurt", 0.4),
        Stage("factory", "Blueberry yoghurt", 0.99, "Blueberry preparation"),
        Stage("factory", "Blueberry yoghurt 500 g cup", 0.98, "Cups and lids"),
    ),
    parties=(
        PartySpec("farm", "Lindehof Dairy Farm", "DE", 60),
        PartySpec("farm", "Brookmatt Family Farm", "DE", 60),
        PartySpec("farm", "Oberfeld Cooperative", "DE", 60),
        PartySpec("mill", "Talgrund Creamery", "DE", 60),
        PartySpec("factory", "Silberbach Yoghurt", "DE", 60),
        PartySpec("supplier", "Heidbeere Fruit and Cups", "DE", 60),
        PartySpec("carrier", "Kaltweg Logistics", "DE", 60),
        PartySpec("distributor", "Suedring Cold Store", "DE", 60),
        PartySpec("store", "Marktplatz Fresh Ulm", "DE", 60),
        PartySpec("store", "Marktplatz Fresh Kempten", "DE", 60),
        PartySpec("store", "Fresh at the Door", "AT", 60),
    ),
)

COTTON = Theme(
    name="cotton",
    raw="Seed cotton",
    unit=KILOGRAM,
    item_size=0.18,
    shelf_life_days=None,
    cold=False,
    stages=(
        Stage("mill", "Cotton lint", 0.38),
        Stage("mill", "Carded sliver", 0.95),
        Stage("mill", "Ring-spun yarn", 0.93),
        Stage("factory", "Jersey fabric", 0.97),
        Stage("factory", "Dyed jersey fabric", 0.98, "Indigo dye"),
        Stage("factory", "T-shirt, crew neck, M", 0.85, "Sewing thread"),
    ),
    parties=(
        PartySpec("farm", "Red Mesa Growers", "US", -300),
        PartySpec("farm", "Llano Flat Farm", "US", -300),
        PartySpec("farm", "Two Creeks Cotton", "US", -300),
        PartySpec("mill", "Caprock Gin and Spinning", "US", -300),
        PartySpec("factory", "Rio Claro Garments", "MX", -360),
        PartySpec("supplier", "Tinta y Hilo", "MX", -360),
        PartySpec("carrier", "Gulf Bridge Lines", "US", -300),
        PartySpec("distributor", "Prairie Apparel Centre", "US", -300),
        PartySpec("store", "Plain Goods Austin", "US", -300),
        PartySpec("store", "Plain Goods Denver", "US", -420),
        PartySpec("store", "plaingoods.example", "US", -480),
    ),
)

THEMES = (TEA, YOGHURT, COTTON)
