"""The standard members of an event and of the objects in it, in the order in which the event hash writes them.

Source: CBV 2.0, event hash algorithm; EPCIS 2.0 section 7.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from goodstrace.vocabulary import Kind

__all__ = ["EVENT", "Field"]


class Field(NamedTuple):
    """How a standard member is written.

    element: for a list of which the name comes once, what each of its elements is called.
    fields: the standard members of its objects, in their order.
    late: it comes after all other standard members, sorted among the extensions.
    """

    kind: Kind | None = None
    is_time: bool = False
    element: str | None = None
    fields: Mapping[str, "Field"] | None = None
    late: bool = False


_TEXT: Final = Field()
_AT: Final = Field(is_time=True)
_EPCS: Final = Field(element="epc")
_QUANTITIES: Final = Field(
    element="quantityElement", fields={"epcClass": _TEXT, "quantity": _TEXT, "uom": _TEXT}
)
_PLACE: Final = Field(fields={"id": _TEXT})
_METADATA: Final = Field(
    fields={
        "time": _AT, "startTime": _AT, "endTime": _AT, "deviceID": _TEXT, "deviceMetadata": _TEXT, "rawData": _TEXT,
        "dataProcessingMethod": _TEXT, "bizRules": _TEXT,
    }
)  # fmt: skip
_REPORT: Final = Field(
    fields={
        "type": Field(kind="measurement"), "exception": Field(kind="alert"), "deviceID": _TEXT,
        "deviceMetadata": _TEXT, "rawData": _TEXT, "dataProcessingMethod": _TEXT, "time": _AT, "microorganism": _TEXT,
        "chemicalSubstance": _TEXT, "value": _TEXT, "component": Field(kind="component"), "stringValue": _TEXT,
        "booleanValue": _TEXT, "hexBinaryValue": _TEXT, "uriValue": _TEXT, "minValue": _TEXT, "maxValue": _TEXT,
        "meanValue": _TEXT, "sDev": _TEXT, "percRank": _TEXT, "percValue": _TEXT, "uom": _TEXT,
        "coordinateReferenceSystem": _TEXT,
    }
)  # fmt: skip
_SENSORS: Final = Field(
    element="sensorElement", fields={"sensorMetadata": _METADATA, "sensorReport": _REPORT}
)
EVENT: Final[Mapping[str, Field]] = {
    "eventTime": _AT,
    "eventTimeZoneOffset": _TEXT,
    "certificationInfo": _TEXT,
    "parentID": _TEXT,
    "epcList": _EPCS,
    "inputEPCList": _EPCS,
    "childEPCs": _EPCS,
    "quantityList": _QUANTITIES,
    "childQuantityList": _QUANTITIES,
    "inputQuantityList": _QUANTITIES,
    "outputEPCList": _EPCS,
    "outputQuantityList": _QUANTITIES,
    "action": _TEXT,
    "transformationID": _TEXT,
    "bizStep": Field(kind="bizstep"),
    "disposition": Field(kind="disp"),
    "persistentDisposition": Field(fields={"set": Field(kind="disp"), "unset": Field(kind="disp")}),
    "readPoint": _PLACE,
    "bizLocation": _PLACE,
    "sensorElementList": _SENSORS,
    "bizTransactionList": Field(
        element="", fields={"type": Field(kind="btt"), "bizTransaction": _TEXT}, late=True
    ),
    "sourceList": Field(element="", fields={"type": Field(kind="sdt"), "source": _TEXT}, late=True),
    "destinationList": Field(element="", fields={"type": Field(kind="sdt"), "destination": _TEXT}, late=True),
}
"""Of the event itself."""
