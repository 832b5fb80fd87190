"""Block headers: the published vectors, RFC 8785 by another implementation, the chain, signatures, refusal of all else."""

import hashlib
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import block as blocks
from goodstrace.block import BlockHeader, KafkaRange
from goodstrace.errors import BlockError
from goodstrace.note import Signer
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("blocks")
KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["seed"]))
CHAIN = [vector["header"].encode() for vector in VECTORS["chain"]]

hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
numbers = st.integers(0, 2**52)
texts = st.from_regex(r"[A-Za-z0-9._/-]{0,20}", fullmatch=True)


@st.composite
def headers(draw: st.DrawFn) -> BlockHeader:
    count, first, offset = draw(st.integers(1, 5000)), draw(numbers), draw(numbers)
    return BlockHeader(
        count=count,
        first=first,
        height=draw(numbers),
        kafka=KafkaRange(
            cluster=draw(texts),
            first=offset,
            next=offset + count + draw(st.integers(0, 9)),
            partition=draw(st.integers(0, 1023)),
            topic=draw(texts),
            topic_id=draw(texts),
        ),
        log=draw(texts),
        previous=draw(hashes),
        root=draw(hashes),
        size=first + count,
        time=draw(numbers),
    )


@given(headers())
def test_the_encoding_is_rfc_8785_by_another_implementation(header: BlockHeader) -> None:
    data = blocks.encode(header)
    assert data == rfc8785.dumps(msgspec.to_builtins(header))
    assert blocks.decode(data) == header


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BlockError):
        blocks.decode(data)


@pytest.mark.parametrize("vector", VECTORS["chain"])
def test_published_headers(vector: dict[str, str]) -> None:
    data, signature = vector["header"].encode(), bytes.fromhex(vector["signature"])
    assert hashlib.sha256(b"\x04goodstrace block v1\x00" + data).hexdigest() == vector["hash"]
    assert blocks.header_hash(data) == vector["hash"]
    assert blocks.sign_header(data, KEY) == signature
    assert KEY.sign(b"\x03goodstrace block v1\x00" + data) == signature
    assert blocks.verify_header(data, signature, KEY.public_key()) == blocks.decode(data)


def test_published_chain_holds() -> None:
    blocks.verify_link(None, CHAIN[0])
    for before, after in pairwise(CHAIN):
        blocks.verify_link(before, after)


def test_a_signature_is_of_this_header_key_and_domain_only() -> None:
    data, signature = CHAIN[0], bytes.fromhex(VECTORS["chain"][0]["signature"])
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    for wrong in (
        (CHAIN[1], signature, KEY.public_key()),
        (data, signature, other.public_key()),
        (data, KEY.sign(data), KEY.public_key()),
        (data, b"", KEY.public_key()),
    ):
        with pytest.raises(BlockError, match="not signed"):
            blocks.verify_header(*wrong)


def test_the_signer_of_checkpoints_signs_headers_alike() -> None:
    signer = Signer("origin", bytes.fromhex(VECTORS["seed"]))
    assert signer.sign(blocks.SIGNATURE_DOMAIN + CHAIN[0]) == blocks.sign_header(CHAIN[0], KEY)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"previous": "ab" * 32}, "previous"),
        ({"height": 7}, "height"),
        ({"first": 9, "size": 11}, "first"),
        ({"log": "goods/9"}, "log"),
        ({"time": 1}, "time"),
        ({"kafka": {"first": 2}}, "kafka"),
        ({"kafka": {"topic_id": "another"}}, "kafka"),
        ({"kafka": {"cluster": "another"}}, "kafka"),
        ({"kafka": {"partition": 9}}, "kafka"),
    ],
)
def test_a_header_that_does_not_follow_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    header = blocks.decode(CHAIN[1])
    if "kafka" in change:
        change = {"kafka": msgspec.structs.replace(header.kafka, **change["kafka"])}
    changed = blocks.encode(msgspec.structs.replace(header, **change))
    with pytest.raises(BlockError, match=field):
        blocks.verify_link(CHAIN[0], changed)


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0},
        {"size": 99},
        {"previous": "AB" * 32},
        {"root": "ab"},
        {"time": -1},
        {"time": 2**53},
        {"log": 'goods/"'},
        {"log": "goods/\u00e9"},
        {"v": 2},
    ],
)
def test_a_field_out_of_its_limits_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BlockError):
        blocks.encode(msgspec.structs.replace(blocks.decode(CHAIN[0]), **change))
