"""Work before a sign-in is tried, and tokens by which a device is known again. Pure; neither is kept anywhere.

A challenge is bound to the account's name as asked for, lives five minutes and tells its own difficulty; that it counts once is the store's to
see (`counters`). Source: hashcash; OWASP "device cookies".
"""

import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

CHALLENGE_S: Final = 300
DEVICE_S: Final = 180 * 86_400
NONCE_BYTES: Final = 16
_MAC_BYTES: Final = 16
_CHALLENGE: Final = struct.Struct(">QB16s")
_DEVICE: Final = struct.Struct(">16s16sQ")
_DEVICE_PREFIX: Final = "gsd_"
MAX_CHARACTERS: Final = 256


class Opened(msgspec.Struct, frozen=True):
    """A challenge of ours: until when (Unix seconds) and how hard, and the nonce by which it counts once."""

    until_s: int
    bits: int
    nonce: bytes


class Device(msgspec.Struct, frozen=True):
    """A device token of ours: the account's ID and the device's own, as hex."""

    account: str
    device: str


def make_challenge(key: bytes, name: str, bits: int, now_s: int, nonce: bytes) -> str:
    """Make a challenge for sign-ins as `name`; `nonce` is NONCE_BYTES random bytes."""
    return _sealed(key, _CHALLENGE.pack(now_s + CHALLENGE_S, bits, nonce), name.encode())


def open_challenge(key: bytes, name: str, text: str, now_s: int) -> Opened | None:
    """Read a challenge; None where it is none of ours for `name`, or is over."""
    body = _unsealed(key, text, _CHALLENGE.size, name.encode())
    if body is None:
        return None
    opened = Opened(*_CHALLENGE.unpack(body))
    return opened if now_s < opened.until_s else None


def is_solved(text: str, counter: int, bits: int) -> bool:
    """Say whether SHA-256 of the challenge's text and the counter (8 bytes, big endian) begins with so many zero bits."""
    digest = hashlib.sha256(text.encode() + counter.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") >> (256 - bits) == 0


def solve(text: str, bits: int) -> int:
    """Find the counter that solves a challenge: about 2^bits hashes."""
    begun = hashlib.sha256(text.encode())
    counter = 0
    while True:
        tried = begun.copy()
        tried.update(counter.to_bytes(8, "big"))
        if int.from_bytes(tried.digest(), "big") >> (256 - bits) == 0:
            return counter
        counter += 1


def make_device(key: bytes, device: Device, now_s: int) -> str:
    """Make a device token."""
    body = _DEVICE.pack(bytes.fromhex(device.account), bytes.fromhex(device.device), now_s + DEVICE_S)
    return _DEVICE_PREFIX + _sealed(key, body, b"")


def open_device(key: bytes, text: str, now_s: int) -> Device | None:
    """Read a device token; None where it is none of ours, or is over."""
    body = _unsealed(key, text.removeprefix(_DEVICE_PREFIX), _DEVICE.size, b"")
    if body is None:
        return None
    account, device, until_s = _DEVICE.unpack(body)
    return Device(account.hex(), device.hex()) if now_s < until_s else None


def _mac(key: bytes, body: bytes, scope: bytes) -> bytes:
    return hmac.digest(key, body + scope, "sha256")[:_MAC_BYTES]  # the body's length is fixed


def _sealed(key: bytes, body: bytes, scope: bytes) -> str:
    return urlsafe_b64encode(body + _mac(key, body, scope)).decode().rstrip("=")


def _unsealed(key: bytes, text: str, size: int, scope: bytes) -> bytes | None:
    if not text or len(text) > MAX_CHARACTERS or not text.isascii():
        return None
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    body, mac = data[:size], data[size:]
    same = hmac.compare_digest(mac, _mac(key, body, scope)) and len(body) == size
    return body if same else None
