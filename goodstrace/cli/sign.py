"""`goodstrace sign`: a merchant's signatures into documents before they are captured."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from goodstrace.cli.options import json_option, print_json
from goodstrace.errors import SignatureError
from goodstrace.signatures import MerchantKey, PrivateKey
from goodstrace.signing import sign_document


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key",
    "key_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key, PEM without a passphrase: Ed25519, or EC on P-256.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the signed document goes.",
)
@json_option
def sign(file: Path, key_file: Path, out: Path, *, as_json: bool) -> None:
    """Sign every event of an EPCIS document (JSON or XML) as its merchant, over its exact bytes.

    \b
      openssl genpkey -algorithm ed25519 -out ann.pem
      openssl pkey -in ann.pem -pubout -out ann.pub.pem
      goodstrace merchants signing-key 2 ann.pub.pem         (once, by the operator)
      goodstrace sign document.jsonld --key ann.pem --out signed.jsonld
      goodstrace capture signed.jsonld

    The signatures are sealed with the events. See docs/signatures.md.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is
    private = _private_key(key_file)
    out.write_bytes(sign_document(file.read_bytes(), private))
    kid = MerchantKey.of(private.public_key()).kid
    if as_json:
        print_json({"file": str(out), "kid": kid})
    else:
        click.echo(f"signed by {kid}: {out}")


def read_public_key(path: Path) -> MerchantKey:
    """Read a public key, PEM. Raises: SignatureError."""
    try:
        return MerchantKey.of(load_pem_public_key(path.read_bytes()))  # type: ignore[arg-type]  # `of` refuses others
    except (OSError, ValueError, UnsupportedAlgorithm, AttributeError) as error:
        raise SignatureError(f"{path} is no public key for signing: {error}") from error


def _private_key(path: Path) -> PrivateKey:
    try:
        private = cast("PrivateKey", load_pem_private_key(path.read_bytes(), None))
        MerchantKey.of(private.public_key())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, AttributeError) as error:
        raise SignatureError(f"{path} is no private key for signing: {error}") from error
    return private
