"""Certificates for development: a CA of one's own, a server's certificate, and clients' certificates with a SAN URI.

Pure: from names and a moment to PEM bytes. Profile: RFC 5280; ECDSA P-256 keys; the CA signs only the DNS names it was made
for (name constraints), so that one that leaks can speak for no other host by name.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
CA_DAYS: Final = 90
LEAF_DAYS: Final = 30
_SKEW: Final = dt.timedelta(minutes=5)  # clocks of callers that are behind


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM; the key is PKCS #8 without a password."""

    certificate: bytes
    key: bytes

    @property
    def expires(self) -> dt.datetime:
        """When the certificate ends."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc


def make_ca(now: dt.datetime, names: Sequence[str], *, days: int = CA_DAYS) -> Pair:
    """Make a CA that may sign for the DNS names of `names` and below them, and for any IP address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("Goodstrace development CA")
    permitted = [x509.DNSName(each) for each in names if _address(each) is None]
    builder = (
        _builder(subject, subject, key.public_key(), _life(now, days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if permitted:
        constraints = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)
        builder = builder.add_extension(constraints, critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def make_server(ca: Pair, now: dt.datetime, names: Sequence[str], *, days: int = LEAF_DAYS) -> Pair:
    """Make a server's certificate for `names`: DNS names and IP addresses; it serves as a client's too, between services."""
    general = [
        x509.DNSName(each) if (address := _address(each)) is None else x509.IPAddress(address)
        for each in names
    ]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _leaf(ca, _life(now, days), names[0], general, usages)


def make_client(ca: Pair, now: dt.datetime, name: str, uri: str, *, days: int = LEAF_DAYS) -> Pair:
    """Make a client's certificate whose SAN is `uri`, such as spiffe://shop.example/checkout."""
    general = [x509.UniformResourceIdentifier(uri)]
    return _leaf(ca, _life(now, days), name, general, [ExtendedKeyUsageOID.CLIENT_AUTH])


def names_in(certificate: bytes) -> tuple[str, ...]:
    """List the DNS names, IP addresses and URIs that a certificate is for."""
    parsed = x509.load_pem_x509_certificate(certificate)
    told = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(
        str(name)
        for kind in (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier)
        for name in told.get_values_for_type(kind)
    )


def signs_for(ca: Pair, names: Sequence[str]) -> bool:
    """Say whether a CA may sign for all DNS names of `names`: they, or what they are below, must have been known when it was made."""
    parsed = x509.load_pem_x509_certificate(ca.certificate)
    try:
        told = parsed.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    permitted = tuple(each.value for each in told.permitted_subtrees or () if isinstance(each, x509.DNSName))
    asked = (each for each in names if _address(each) is None)
    return all(any(f".{name}".endswith(f".{each}") for each in permitted) for name in asked)


def _leaf(
    ca: Pair,
    life: tuple[dt.datetime, dt.datetime],
    name: str,
    names: Sequence[x509.GeneralName],
    usages: Sequence[x509.ObjectIdentifier],
) -> Pair:
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    signing = serialization.load_pem_private_key(ca.key, None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA's key is no EC key")
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(_subject(name), issuer.subject, key.public_key(), life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
        .sign(signing, hashes.SHA256())
    )
    return _pair(made, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    life: tuple[dt.datetime, dt.datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
    )


def _life(now: dt.datetime, days: int) -> tuple[dt.datetime, dt.datetime]:
    return now - _SKEW, now + dt.timedelta(days=days)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
