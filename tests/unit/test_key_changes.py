"""Changes of a log's key: what is signed, what is refused, which key holds where."""

import json
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace import key_changes
from goodstrace.block import GENESIS_HASH, SIGNATURE_DOMAIN
from goodstrace.errors import KeyChangeError
from goodstrace.key_changes import KeyChange
from goodstrace.note import Signer
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("key_changes")
LOG = "goods/0"
ORIGIN = "test.local/0011/goods/0"
KEYS = [Signer(ORIGIN, bytes([number]) * 32) for number in range(1, 9)]


def change(number: int, **fields: Any) -> KeyChange:
    """The change from the key of this number to the next one."""
    values: dict[str, Any] = {
        "log": LOG,
        "height": 10 * number + 2,
        "size": 50 * number + 5,
        "previous": f"{number + 1:064x}",
        "time": 1_700_000_000_000 + number,
        "old": KEYS[number],
        "new": KEYS[number + 1],
    }
    return key_changes.sign(**{**values, **fields})


CHAIN = [change(number) for number in range(4)]


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_published_examples_are_made_and_read(vector: dict[str, Any]) -> None:
    old, new = (Signer(vector["origin"], bytes.fromhex(vector[seed])) for seed in ("old_seed", "new_seed"))
    fields = {name: vector[name] for name in ("log", "height", "size", "previous", "time")}
    made = key_changes.sign(**fields, old=old, new=new)
    assert key_changes.statement(made).decode() == vector["statement"]
    assert key_changes.parse(vector["statement"]) == made


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_published_examples_of_what_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(KeyChangeError):
        key_changes.parse(vector["statement"])


def test_a_statement_is_what_rfc_8785_makes_of_it() -> None:
    for each in CHAIN:
        data = key_changes.statement(each)
        assert rfc8785.dumps(json.loads(data)) == data
        assert key_changes.parse(data) == key_changes.parse(data.decode()) == each


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(key_changes.statement(CHAIN[0])) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(place: int, difference: int) -> None:
    data = bytearray(key_changes.statement(CHAIN[0]))
    data[place] ^= difference
    with pytest.raises(KeyChangeError):
        key_changes.parse(bytes(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_whatever_the_bytes_one_kind_of_error(data: bytes | str) -> None:
    with pytest.raises(KeyChangeError):
        key_changes.parse(data)


def test_too_long_a_statement_is_not_even_read() -> None:
    with pytest.raises(KeyChangeError, match="over"):
        key_changes.parse(b" " * (key_changes.MAX_STATEMENT_BYTES + 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"height": -1},
        {"height": 2**53},
        {"size": 1},  # fewer entries than blocks
        {"previous": GENESIS_HASH},
        {"previous": "00"},
        {"previous": "AB" * 32},
        {"time": -1},
        {"log": "goods/1"},
        {"new": KEYS[0]},
        {"new": Signer("test.local/0011/goods/1", b"\x09" * 32)},
        {"old": Signer("test.local/0011/goods/1", b"\x09" * 32)},
    ],
)
def test_a_field_out_of_its_limits_is_not_even_signed(wrong: dict[str, Any]) -> None:
    with pytest.raises(KeyChangeError):
        change(0, **wrong)


def test_a_key_may_change_before_the_first_block() -> None:
    first = change(0, height=0, size=0, previous=GENESIS_HASH)
    assert key_changes.key_of_size([first], first.new, 1) == first.new
    assert key_changes.key_at([first], first.new, 0) == first.new


@pytest.mark.parametrize("which", ["old_signature", "new_signature"])
def test_both_keys_must_have_signed(which: str) -> None:
    other = getattr(change(0, time=1), which)
    with pytest.raises(KeyChangeError, match=f"the {which.partition('_')[0]} key did not sign"):
        key_changes.verify(msgspec.structs.replace(CHAIN[0], **{which: other}))


def test_the_signatures_are_in_a_domain_of_their_own() -> None:
    fields = json.loads(key_changes.statement(CHAIN[0]))
    signatures = [bytes.fromhex(fields.pop(name)) for name in ("old_signature", "new_signature")]
    unsigned = rfc8785.dumps(fields)
    for key, signature in zip(KEYS, signatures, strict=False):
        assert key.verifier.is_valid(signature, key_changes.SIGNATURE_DOMAIN + unsigned)
        assert not key.verifier.is_valid(signature, unsigned)
        assert not key.verifier.is_valid(signature, SIGNATURE_DOMAIN + unsigned)


def test_a_chain_goes_from_key_to_key() -> None:
    for length in range(len(CHAIN) + 1):
        key_changes.verify_chain(CHAIN[:length])
    broken = [
        CHAIN[1::-1],
        [CHAIN[0], CHAIN[2]],
        [CHAIN[0], CHAIN[0]],
        [CHAIN[0], change(1, height=2)],
        [CHAIN[0], change(1, size=5, height=3)],
        [CHAIN[0], change(1, time=1)],
        [CHAIN[0], change(1, new=KEYS[0])],
        [CHAIN[0], change(1), change(2, new=KEYS[1])],
    ]
    for chain in broken:
        with pytest.raises(KeyChangeError):
            key_changes.verify_chain(chain)


def test_a_chain_of_another_log_does_not_go_on() -> None:
    other = Signer("test.local/0011/browse/0", b"\x01" * 32), Signer("test.local/0011/browse/0", b"\x02" * 32)
    with pytest.raises(KeyChangeError):
        key_changes.verify_chain([CHAIN[0], change(1, log="browse/0", old=other[0], new=other[1])])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(CHAIN)), st.integers(0, 60), st.integers(1, 300))
def test_the_key_in_force_is_that_of_the_newest_change_before(length: int, height: int, size: int) -> None:
    chain, current = CHAIN[:length], KEYS[length].verifier.vkey()
    by_height = sum(each.height <= height for each in chain)
    by_size = sum(each.size < size for each in chain)
    assert key_changes.key_at(chain, current, height) == KEYS[by_height].verifier.vkey()
    assert key_changes.key_of_size(chain, current, size) == KEYS[by_size].verifier.vkey()
