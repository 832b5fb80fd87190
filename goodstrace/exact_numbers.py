"""Numbers with a fraction or an exponent as they are written, whatever is written. Pure."""

from decimal import Decimal, InvalidOperation

__all__ = ["exact"]


def exact(text: str) -> Decimal:
    """Give a number, in the form of JSON, as the decimal that it is.

    `decimal` has no exponents of more than 18 digits. What has one and is read as the float 0, as all do who check events, is 0.

    Raises: ValueError, where it is no number or beyond every float.
    """
    try:
        return Decimal(text)
    except InvalidOperation:
        if float(text) == 0:
            return Decimal(0)
        raise ValueError(f"not a number that can be read: {text[:40]}") from None
