"""The examples of docs/tracing-examples.md: what happened, and what is traced."""

from typing import Final, NamedTuple

from goodstrace.tracing import Direction


class Example(NamedTuple):
    """A chain (see tools/tracing_chains.py) and what is traced in it."""

    title: str
    text: str
    lines: tuple[str, ...]
    root: str
    direction: Direction = Direction.HISTORY


UP, DOWN, BOTH = Direction.UPSTREAM, Direction.DOWNSTREAM, Direction.BOTH

EXAMPLES: Final = (
    Example(
        "Late arrivals and same-time events (rule 1)",
        "The truck left at the very moment at which the case was taken out: DELETE comes first, so it left without the case. e4 came last and"
        " happened first.",
        ("3 pack truck: case", "6 unpack truck: case", "6 pack ship: truck", "1 see case"),
        "case",
    ),
    Example(
        "One event ID, two contents (rule 2)",
        "e1 was sealed again as e2: that is one event, at two positions. e3 has its ID and says something else: both are shown, and marked.",
        ("1 see item:1", "1 again 1", "3 see item:1 as=e1"),
        "item:1",
    ),
    Example(
        "Corrections, also by a delegate (rule 3)",
        "Merchant 1 lets merchant 2 speak for bread. 2 takes back e2; 3, which speaks for nobody, cannot take back e3.",
        ("1 lend 2: bread", "2 make sand -> bread", "3 make flour -> bread", "@2 4 wrong 2", "@3 5 wrong 3"),
        "bread",
        UP,
    ),
    Example(
        "Nested containers (rules 4 and 6)",
        "What happens to the truck happens to the item, as long as every one of the three holds.",
        (
            "1 pack case: item:1",
            "2 pack pallet: case",
            "3 pack truck: pallet",
            "4 see truck",
            "6 unpack case: item:1",
            "7 see truck",
            "8 unpack truck: pallet",
        ),
        "item:1",
    ),
    Example(
        "Re-packing (rule 4)",
        "Nobody took the item out of the box; putting it into the case did.",
        ("1 pack box: item:1", "4 pack case: item:1", "5 see box", "6 see case"),
        "item:1",
    ),
    Example(
        "Partial unpacking (rule 4)",
        "Taking out the other one ends nothing for this one, and is no event of its; emptying the case is.",
        ("1 pack case: item:1 item:2", "3 unpack case: item:2", "4 see case", "6 unpack case:", "7 see case"),
        "item:1",
    ),
    Example(
        "In two containers by faulty data (rule 4)",
        "Seen in the box while nobody took it out of the case: both are shown, from where it is not known for the box.",
        ("1 pack case: item:1", "3 seen-in box: item:1", "4 see case", "5 see box"),
        "item:1",
    ),
    Example(
        "Open intervals and unpacking without packing (rule 4)",
        "Taken out of a crate it was never put into: it was in there since its event before. In the case it still is.",
        ("2 see item:1", "3 see crate", "5 unpack crate: item:1", "6 pack case: item:1"),
        "item:1",
    ),
    Example(
        "Lots split and merged (rule 5)",
        "Ten went into two tubs, one of which is emptied in two steps.",
        (
            "1 pack tub1: lot:x*6",
            "2 pack tub2: lot:x*4",
            "4 unpack tub1: lot:x*5",
            "5 see tub1",
            "6 unpack tub1: lot:x*1",
            "7 see tub1",
            "8 see tub2",
        ),
        "lot:x",
    ),
    Example(
        "Transformations spread over several events (rule 7)",
        "One batch: what went in late may still be in it, and is marked. Merchant 2 has a batch of the same name.",
        (
            "1 make milk -> id=batch",
            "3 make -> cheese id=batch",
            "5 make salt -> id=batch",
            "@2 1 make sand -> id=batch",
        ),
        "cheese",
        UP,
    ),
    Example(
        "Classes, lots and serials mixed (rules 8 and 12)",
        "The item is of its lot by commissioning; the class rennet ends the walk.",
        ("1 make lot:milk*9 class:rennet*1 -> lot:x*9", "2 made item:1 item:2 of lot:x", "3 see lot:x"),
        "item:1",
        UP,
    ),
    Example(
        "The lot of a registered item (rule 8)",
        "No event says the lot; a registration does, and stands among the events that prove the answer.",
        ("1 make lot:milk*9 -> lot:x*9", "2 see item:1", "3 register item:1 of lot:x"),
        "lot:milk",
        DOWN,
    ),
    Example(
        "A container that is used up (rule 9)",
        "The tank stands for what was in it at that moment: the drum, not the lot that had left.",
        ("1 pack tank: lot:old*5", "2 unpack tank: lot:old*5", "3 pack tank: drum", "5 make tank -> paint"),
        "paint",
        UP,
    ),
    Example(
        "Containers are no way to other contents (rule 9)",
        "The other item in the case became soup; that is not this one's business.",
        ("1 pack case: item:1 item:2", "2 make item:2 -> soup"),
        "item:1",
        BOTH,
    ),
    Example(
        "Associations: parts (rule 10)",
        "The engine is a component of the car, upstream of it with all that it was made of.",
        ("1 make steel -> engine", "2 attach car: engine", "5 detach car: engine"),
        "car",
        UP,
    ),
    Example(
        "Associations: sensors (rule 10)",
        "What the probe measured while it was mounted concerns the truck and what was in it.",
        (
            "1 attach truck: probe",
            "2 sense probe",
            "3 pack truck: case",
            "4 sense probe",
            "5 unpack truck: case",
            "6 sense probe",
        ),
        "case",
    ),
    Example(
        "Orders (rule 11)",
        "An order is a root and no bridge between its goods; taking everything off it ends it.",
        ("1 make milk -> cheese", "2 order po:7: cheese bread", "5 order-off po:7:"),
        "po:7",
        UP,
    ),
    Example(
        "Cycles (rule 12)",
        "Starter makes dough, and dough makes starter: each is met once, a second time it is only seen.",
        ("1 make starter flour -> dough", "2 make dough -> starter"),
        "dough",
        UP,
    ),
)
