"""Users whom looks ask for: the published vectors, and refusal of all else."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import asked_user
from goodstrace.encrypted_parts import encrypt, record_key
from goodstrace.errors import EncryptedPartError
from goodstrace.log.v1 import log_pb2
from goodstrace.verification import open_part
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("asked_users")
FIRST = VECTORS["asked"][0]
ID, KEY = bytes.fromhex(FIRST["record_id"]), bytes.fromhex(FIRST["key"])


@pytest.mark.parametrize("vector", VECTORS["asked"], ids=lambda each: each["name"])
def test_the_vectors_hold(vector: dict[str, str]) -> None:
    record_id, user_key = bytes.fromhex(vector["record_id"]), bytes.fromhex(vector["user_key"])
    key, what = record_key(user_key, record_id, "asked"), vector["what"].encode()
    assert key.hex() == vector["key"]
    assert asked_user.encrypted(user_key, record_id, vector["user"]) == asked_user.asked_in(what)
    assert asked_user.with_name(what, key, record_id) == vector["shown"].encode()


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda each: each["name"])
def test_what_is_published_as_refused_is(vector: dict[str, str]) -> None:
    with pytest.raises(EncryptedPartError):
        asked_user.with_name(vector["what"].encode(), KEY, ID)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.text(max_size=128))
def test_a_name_comes_back_in_its_place(user_key: bytes, record_id: bytes, name: str) -> None:
    rest = {"checkpoints": [], "keys": ["é"], "method": "ListBrowses"}
    asked = json.loads(asked_user.encrypted(user_key, record_id, name))
    key = record_key(user_key, record_id, "asked")
    shown = asked_user.with_name(rfc8785.dumps(rest | {"asked": asked}), key, record_id)
    assert json.loads(shown) == rest | {"user": name}


def _part(name: str, asked_key: bytes) -> log_pb2.DisclosedPart:
    own = record_key(bytes(32), ID, name)
    content = encrypt(own, ID, name, FIRST["what"].encode())
    return log_pb2.DisclosedPart(name=name, content=content, key=own, asked_key=asked_key)


def test_a_part_is_shown_with_the_name_where_its_key_came() -> None:
    assert open_part(ID.hex(), _part("what", KEY)) == FIRST["shown"].encode()
    assert open_part(ID.hex(), _part("what", b"")) == FIRST["what"].encode()
    with pytest.raises(EncryptedPartError):
        open_part(ID.hex(), _part("what", bytes(32)))
