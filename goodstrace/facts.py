"""Facts: what the collector's stages found out about an event, sealed beside its exact bytes.

One JSON object with sorted keys, fields without a value left out. The stages fill it one after the other; tracing reads
nothing else. `tests/vectors/facts.json` holds published examples.
"""

import hashlib
from typing import Any, Final, Literal, get_args

import msgspec

from goodstrace.errors import EntryError

PIPELINE_VERSION: Final = "4"
READ_GAP_US: Final = 60_000_000
"""The longest pause within a run of reads, microseconds of event time. It never changes for records of a pipeline version."""
Step = Literal["procurement", "production", "logistics", "storage", "sale", "return", "disposal", "other"]
STEPS: Final[tuple[str, ...]] = get_args(Step)
"""The steps of the supply chain that `Facts.step` may say."""


class Role:
    """Names of the roles under which an event names keys (`Facts.keys`).

    SENSOR are the devices that measured (`deviceID`), from pipeline "3" on. REGISTERED are those of a registration: what it is of,
    and the lot that it says registered goods to be of.
    """

    EPC = "epc"
    LOT = "lot"
    CLASS = "class"
    PARENT = "parent"
    CHILD = "child"
    INPUT = "input"
    OUTPUT = "output"
    LOCATION = "location"
    PARTY = "party"
    TRANSACTION = "transaction"
    REGISTERED = "registered"
    SENSOR = "sensor"


GOODS_ROLES: Final = (Role.EPC, Role.LOT, Role.CLASS, Role.PARENT, Role.CHILD, Role.INPUT, Role.OUTPUT)


class Flag:
    """Names of the flags a stage may raise; they mark, they never block.

    SIGNED_LATER: the same event came before without a signature, and is sealed twice; from pipeline "3" on.
    """

    FUTURE_TIME = "future-time"
    CONFLICTING_ID = "conflicting-id"
    NORMALISED_VOCABULARY = "normalised-vocabulary"
    SIGNED_LATER = "signed-later"


class Quantity(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How much of a lot or class: `quantity` a decimal as text, empty where unknown; `unit` a UN/CEFACT code, empty for each."""

    key: str
    quantity: str = ""
    unit: str = ""


class Typed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A key with its CBV type (a transaction, source or destination); the type is the bare word or a URI."""

    key: str
    type: str = ""


class Correction(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An errorDeclaration: `time_us` Unix microseconds UTC; `digest` the SHA-256 of its canonical JSON, hex."""

    digest: str
    time_us: int
    corrective_ids: tuple[str, ...] = ()
    reason: str = ""


class Severity:
    """How much a verdict matters: `info` is good to know, `warning` wants a look, `critical` wants one at once."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a rule found in an event by itself; it marks, it never blocks.

    rule: the rule's ID in one of the event's `rule_sets`. severity: see Severity. at: JSON pointer (RFC 6901) of the first place in the
    event where the rule holds, empty for the event as a whole. detail: one sentence for people. registered: canonical keys of the goods whose
    registrations state the limits that the rule compared with, see `Facts.registered_range`; empty where the event states them itself.
    """

    rule: str
    severity: str
    at: str = ""
    detail: str = ""
    registered: tuple[str, ...] = ()


class Repeat(msgspec.Struct, frozen=True, gc=False):
    """A read of the same things at the same place again: `first` is the event ID of the run's first read, `number` counts from it.

    Both are of one merchant and one log; `number` is at least 2.
    """

    first: str
    number: int


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A limit of temperature that is registered of goods.

    celsius: degrees Celsius, the shortest decimal that is read as the same double. key: canonical key of the goods. record: hex ID of the
    registration's record, as it was when the event was captured.
    """

    celsius: str
    key: str
    record: str


class RegisteredRange(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The narrowest range that is registered of the goods that an event names.

    low, high: None where nothing is registered. unread: of some of the goods it is not known what is registered, and does not count: the
    registry could not be read when the event was captured, or the event names more of them than are asked for.
    """

    high: Limit | None = None
    low: Limit | None = None
    unread: bool = False


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is known of one event.

    event_id: the event's own ID, else its hash. event_hash: CBV 2.0 event hash, in any case.
    time_us: event time in Unix microseconds UTC; offset: the event's time zone offset as written.
    type, action: of EPCIS; step: the classified step of the supply chain, by the table `step_table`.
    business_step, disposition: the CBV bare word, or the URI of another vocabulary.
    keys: canonical keys by role, each list sorted and distinct. quantities: by role (lot, class, child, input, output).
    lot_of: lot key by serial key, where the event says so. transformation: its transformationID, exact.
    read_point, business_location: canonical keys. context: the effective JSON-LD @context; of an event that came as XML
    {"xmlns": {prefix: URI}}, the namespaces declared around it ("" for the default one).
    hash_ignores: names the capture's document left out of the event hash (`ignoreFields`), as `event_hash` takes them.
    pipeline: version of the pipeline that made these facts. flags: sorted names from a closed set.
    registered_range: between which temperatures the goods are to be kept by their registrations, as `collect` found them; of events with
    sensor reports, from pipeline "4" on; None where nothing is registered.
    repeats: the run of reads this one goes on with; from pipeline "2" on. sensor_reports: how many it holds; from pipeline "3" on.
    rule_sets: the sets of rules that were tried on the event. verdicts: what they found, by rule ID, each rule once.
    A table or set that came with the program is named by its version, an operator's by `<version> sha256:<hex>` of its file.
    """

    event_id: str
    event_hash: str
    type: str
    time_us: int
    offset: str
    pipeline: str
    action: str = ""
    business_location: str = ""
    business_step: str = ""
    context: Any = None
    correction: Correction | None = None
    destinations: tuple[Typed, ...] = ()
    disposition: str = ""
    flags: tuple[str, ...] = ()
    hash_ignores: tuple[str, ...] = ()
    keys: dict[str, tuple[str, ...]] = {}
    lot_of: dict[str, str] = {}
    quantities: dict[str, tuple[Quantity, ...]] = {}
    read_point: str = ""
    registered_range: RegisteredRange | None = None
    repeats: Repeat | None = None
    rule_sets: tuple[str, ...] = ()
    sensor_reports: int = 0
    sources: tuple[Typed, ...] = ()
    step: str = ""
    step_table: str = ""
    transactions: tuple[Typed, ...] = ()
    transformation: str = ""
    verdicts: tuple[Verdict, ...] = ()


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(Facts)
_UNCHECKED: Final = ("action", "transformation")
"""Beside the units of quantities: what may be sealed and no text, see `decode`."""


def encode(facts: Facts) -> bytes:
    """Encode facts as compact JSON with sorted keys, fields at their defaults left out."""
    return _ENCODER.encode(facts)


def decode(data: bytes) -> Facts:
    """Decode the facts part of a record; unknown fields of later versions are passed over.

    Where `collect` did not check them yet (members that are none of the event's type), something else than a text may be sealed as
    `action`, `transformation` or the unit of a quantity: it is read as none, since it says nothing.

    Raises: EntryError, whatever the bytes.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError:
        return _unchecked(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not the facts of an event: {error}") from error


def decode_as_sealed(data: bytes) -> Facts:
    """Decode the facts part of a record for who writes it anew: `encode` gives back what `decode` reads as none, too.

    It stays in its place, whatever it is, although the field's type says that it is a text.

    Raises: EntryError, whatever the bytes.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError:
        return _with_unread(_unchecked(data), msgspec.json.decode(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not the facts of an event: {error}") from error


def _with_unread(facts: Facts, sealed: dict[str, Any]) -> Facts:
    """Put back what `_unchecked` left out; nothing is validated here."""
    unread: dict[str, Any] = {name: sealed[name] for name in _UNCHECKED if name in sealed}
    if facts.quantities:
        unread["quantities"] = {
            role: tuple(map(_with_unit, listed, sealed["quantities"][role]))
            for role, listed in facts.quantities.items()
        }
    return msgspec.structs.replace(facts, **unread)


def _with_unit(quantity: Quantity, sealed: dict[str, Any]) -> Quantity:
    return msgspec.structs.replace(quantity, unit=sealed.get("unit", ""))


def _unchecked(data: bytes) -> Facts:
    try:
        read = msgspec.json.decode(data)
        if isinstance(read, dict):
            _leave_out(read, *_UNCHECKED)
            quantities = read.get("quantities")
            for listed in quantities.values() if isinstance(quantities, dict) else ():
                for each in listed if isinstance(listed, list) else ():
                    if isinstance(each, dict):
                        _leave_out(each, "unit")
        return msgspec.convert(read, Facts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not the facts of an event: {error}") from error


def _leave_out(fields: dict[str, Any], *names: str) -> None:
    """Leave out what is no text."""
    for name in names:
        if name in fields and not isinstance(fields[name], str):
            del fields[name]


def identity(merchant: int, facts: Facts) -> str:
    """Name the identity of a captured event: same identity again is a duplicate.

    SHA-256, hex, over the JSON array [merchant, event ID, event hash, digest of the errorDeclaration or ""].
    """
    digest = facts.correction.digest if facts.correction else ""
    parts = (merchant, facts.event_id, facts.event_hash, digest)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
