"""The standard terms of the Core Business Vocabulary, in all their spellings.

One term has up to five spellings: the bare word of EPCIS 2.0 JSON (`receiving`), the URN of EPCIS 1.x
(`urn:epcglobal:cbv:bizstep:receiving`), the web URI (`https://ref.gs1.org/cbv/BizStep-receiving`, also seen with
http) and its CURIE (`cbv:BizStep-receiving`).

Source: Core Business Vocabulary 2.0, standard vocabularies; EPCIS 2.0, JSON binding (bare words); GS1 Web Vocabulary.
"""

from typing import Final, Literal, NamedTuple

__all__ = ["CURIE_PREFIXES", "URN_PREFIXES", "Kind", "term", "web_uri", "words"]

Kind = Literal["bizstep", "disp", "btt", "sdt", "er", "measurement", "alert", "component"]
"""Business step, disposition, business transaction type, source or destination type, error reason, sensor measurement
type, sensor alert type, sensor component."""

CURIE_PREFIXES: Final = {
    "epcis": "https://ref.gs1.org/epcis/",
    "cbv": "https://ref.gs1.org/cbv/",
    "gs1": "https://gs1.org/voc/",
}
"""Prefixes that the EPCIS context gives to every document (CBV 2.0, event hash, rule on CURIEs)."""


class _Vocabulary(NamedTuple):
    web: str
    urn: str | None
    words: frozenset[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CBV: Final = CURIE_PREFIXES["cbv"]
_VOC: Final = CURIE_PREFIXES["gs1"]

_VOCABULARIES: Final[dict[str, _Vocabulary]] = {
    "bizstep": _Vocabulary(
        _CBV + "BizStep-",
        "urn:epcglobal:cbv:bizstep:",
        _words(
            "accepting arriving assembling collecting commissioning consigning creating_class_instance cycle_counting "
            "decommissioning departing destroying disassembling dispensing encoding entering_exiting holding inspecting "
            "installing killing loading other packing picking receiving removing repackaging repairing replacing "
            "reserving retail_selling sampling sensor_reporting shipping staging_outbound stock_taking stocking storing "
            "transporting unloading unpacking void_shipping"
        ),
    ),
    "disp": _Vocabulary(
        _CBV + "Disp-",
        "urn:epcglobal:cbv:disp:",
        _words(
            "active available completeness_inferred completeness_verified conformant container_closed container_open "
            "damaged destroyed dispensed disposed encoded expired in_progress in_transit inactive mismatch_class "
            "mismatch_instance mismatch_quantity needs_replacement no_pedigree_match non_conformant non_sellable_other "
            "partially_dispensed recalled reserved retail_sold returned sellable_accessible sellable_not_accessible "
            "stolen unavailable unknown"
        ),
    ),
    "btt": _Vocabulary(
        _CBV + "BTT-",
        "urn:epcglobal:cbv:btt:",
        _words("bol cert desadv inv pedigree po poc prodorder recadv rma testprd testres upevt"),
    ),
    "sdt": _Vocabulary(
        _CBV + "SDT-", "urn:epcglobal:cbv:sdt:", _words("location owning_party possessing_party")
    ),
    "er": _Vocabulary(_CBV + "ER-", "urn:epcglobal:cbv:er:", _words("did_not_occur incorrect_data")),
    "measurement": _Vocabulary(
        _VOC,
        None,
        _words(
            "AbsoluteHumidity AbsorbedDose AbsorbedDoseRate Acceleration Altitude AmountOfSubstance "
            "AmountOfSubstancePerUnitVolume Angle AngularAcceleration AngularMomentum AngularVelocity Area Capacitance "
            "Conductance Conductivity Count Density Dimensionless DoseEquivalent DoseEquivalentRate DynamicViscosity "
            "ElectricCharge ElectricCurrent ElectricCurrentDensity ElectricFieldStrength Energy Exposure Force "
            "Frequency Illuminance Inductance Irradiance KinematicViscosity Length LinearMomentum Luminance "
            "LuminousFlux LuminousIntensity MagneticFlux MagneticFluxDensity MagneticVectorPotential Mass "
            "MassConcentration MassFlowRate MassPerAreaTime MemoryCapacity MolalityOfSolute MolarEnergy MolarMass "
            "MolarVolume Power Pressure RadiantFlux RadiantIntensity Radioactivity RelativeHumidity Resistance "
            "Resistivity SolidAngle SpecificVolume Speed SurfaceDensity SurfaceTension Temperature Time Torque Voltage "
            "Volume VolumeFlowRate VolumeFraction VolumetricFlux Wavenumber"
        ),
    ),
    "alert": _Vocabulary(_VOC, None, _words("ALARM_CONDITION ERROR_CONDITION")),
    "component": _Vocabulary(
        _CBV + "Comp-",
        None,
        _words(
            "altitude axial_distance azimuth easting elevation_angle height latitude longitude northing polar_angle "
            "spherical_radius x y z"
        ),
    ),
}

URN_PREFIXES: Final = {item.urn: item.web for item in _VOCABULARIES.values() if item.urn}
"""Start of a CBV URN -> start of the web URI of the same term."""


def _spellings(vocabulary: _Vocabulary) -> dict[str, str]:
    starts = ["", vocabulary.web, vocabulary.web.replace("https:", "http:", 1)]
    starts += [
        vocabulary.web.replace(uri, prefix + ":")
        for prefix, uri in CURIE_PREFIXES.items()
        if vocabulary.web.startswith(uri)
    ]
    if vocabulary.urn:
        # Documents are seen that leave the vocabulary's name out: urn:epcglobal:cbv:owning_party.
        starts += [vocabulary.urn, "urn:epcglobal:cbv:"]
    return {start + word: word for start in starts for word in vocabulary.words}


_SPELLINGS: Final = {kind: _spellings(vocabulary) for kind, vocabulary in _VOCABULARIES.items()}
_WEB: Final = {
    kind: {word: vocabulary.web + word for word in vocabulary.words}
    for kind, vocabulary in _VOCABULARIES.items()
}


def term(kind: Kind, text: str) -> str | None:
    """Return the bare word of the standard term that `text` spells; None where it is no standard term of `kind`.

    Spaces around it do not count; upper and lower case do.
    """
    return _SPELLINGS[kind].get(text.strip())


def words(kind: Kind) -> frozenset[str]:
    """List the standard terms of `kind` as bare words."""
    return _VOCABULARIES[kind].words


def web_uri(kind: Kind, word: str) -> str | None:
    """Return the web URI of the bare `word`; None where it is no standard term of `kind`."""
    return _WEB[kind].get(word)
