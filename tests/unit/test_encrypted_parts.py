"""Encrypted parts: the published vectors, the same by other means, and refusal of all else."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.encrypted_parts import decrypt, encrypt, is_encrypted, record_key
from goodstrace.errors import EncryptedPartError
from services.sealing.browse import Browse, contents_of
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("encrypted_parts")
ids = st.binary(min_size=16, max_size=16)
keys = st.binary(min_size=32, max_size=32)
names = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)


@pytest.mark.parametrize("vector", VECTORS["parts"], ids=lambda each: each["name"])
def test_the_vectors_hold(vector: dict[str, str]) -> None:
    record_id, content = bytes.fromhex(vector["record_id"]), vector["content"].encode()
    key = record_key(bytes.fromhex(vector["user_key"]), record_id, vector["part"])
    assert key.hex() == vector["key"]
    assert encrypt(key, record_id, vector["part"], bytes.fromhex(vector["clear"])) == content
    assert decrypt(key, record_id, vector["part"], content).hex() == vector["clear"]
    assert is_encrypted(content)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda each: each["name"])
def test_what_is_published_as_refused_is(vector: dict[str, str]) -> None:
    first = VECTORS["parts"][0]
    with pytest.raises(EncryptedPartError):
        decrypt(
            bytes.fromhex(first["key"]),
            bytes.fromhex(first["record_id"]),
            first["part"],
            vector["content"].encode(),
        )


@given(keys, ids, names, st.binary(max_size=200))
def test_the_same_comes_out_by_other_means(
    user_key: bytes, record_id: bytes, part: str, clear: bytes
) -> None:
    extracted = hmac.digest(record_id, user_key, "sha256")  # RFC 5869: one block is all of it
    key = hmac.digest(extracted, b"goodstrace/browse/v1 " + part.encode() + b"\x01", "sha256")
    assert record_key(user_key, record_id, part) == key
    gcm = Cipher(algorithms.AES256(key), modes.GCM(bytes(12))).encryptor()
    gcm.authenticate_additional_data(record_id + part.encode())
    data = gcm.update(clear) + gcm.finalize() + gcm.tag
    told: dict[str, Any] = {
        "alg": "A256GCM",
        "data": base64.b64encode(data).decode(),
        "key": hashlib.sha256(key).hexdigest(),
        "v": 1,
    }
    content = encrypt(key, record_id, part, clear)
    assert content == rfc8785.dumps(told)
    assert decrypt(key, record_id, part, content) == clear


@given(keys, ids, names, st.binary(max_size=60), st.data())
def test_any_changed_byte_and_any_other_key_record_or_part_is_refused(
    user_key: bytes, record_id: bytes, part: str, clear: bytes, data: st.DataObject
) -> None:
    key = record_key(user_key, record_id, part)
    content = encrypt(key, record_id, part, clear)
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    other_key = data.draw(keys.filter(lambda each: each != key))
    other_id = data.draw(ids.filter(lambda each: each != record_id))
    other_part = data.draw(names.filter(lambda each: each != part))
    for wrong in (
        (key, record_id, part, bytes(changed)),
        (other_key, record_id, part, content),
        (key, other_id, part, content),
        (key, record_id, other_part, content),
        (key[:-1], record_id, part, content),
    ):
        with pytest.raises(EncryptedPartError):
            decrypt(*wrong)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_only_one_error_is_raised(content: bytes) -> None:
    with pytest.raises(EncryptedPartError):
        decrypt(bytes(32), bytes(16), "who", content)


def test_a_part_has_a_key_of_its_own_in_each_record() -> None:
    derived = {
        record_key(user, record_id, part)
        for user in (bytes(32), b"u" * 32)
        for record_id in (bytes(16), b"r" * 16)
        for part in ("who", "what", "purpose")
    }
    assert len(derived) == 12
    for user_key, record_id in ((bytes(31), bytes(16)), (bytes(32), bytes(15))):
        with pytest.raises(ValueError, match="bytes"):
            record_key(user_key, record_id, "who")


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_content_in_clear_is_never_taken_for_encrypted(user: str, query: str, purpose: str) -> None:
    browse = Browse(user=user, method="Trace", keys=(), sizes={}, purpose=purpose, events=0, query=query)
    assert not any(is_encrypted(content) for content in contents_of(browse).values())
