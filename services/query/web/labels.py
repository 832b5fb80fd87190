"""QR codes for labels, as SVG. Pure. Source: GS1 General Specifications 5.9 (QR code with GS1 Digital Link URI)."""

import io
from typing import Final

import segno

from services.runtime.call_errors import InvalidRequestError

_QUIET_MODULES: Final = 4
_SCALE: Final = 4


def label(address: str) -> bytes:
    """Draw the QR code of an address, error correction M or better, with its quiet zone. Raises: InvalidRequestError where it is too long."""
    try:
        code = segno.make(address, error="m", micro=False)
    except segno.DataOverflowError as error:
        raise InvalidRequestError("too long for a QR code", "key") from error
    drawn = io.BytesIO()
    code.save(drawn, kind="svg", border=_QUIET_MODULES, scale=_SCALE, light="#fff", xmldecl=False)
    return drawn.getvalue()
