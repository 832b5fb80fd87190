"""The published answers of Trace: as this program makes them, believed by the client where they hold, and refused where not."""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from goodstrace.cosignature import CosignatureVerifier
from goodstrace.entry import decode, tags_commitment
from goodstrace.errors import VerificationError
from goodstrace.log_keys import LogKeys
from goodstrace.note import parse_note
from goodstrace.query.v1 import trace_pb2
from tests import trace_vectors
from tests.unit.fake_services import FakeServices, client_of, services
from tests.vector_files import VECTORS_DIR

__all__ = ["client_of", "services"]  # fixtures
FILE = VECTORS_DIR / "trace_answers.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text())
KEYS = LogKeys.parse(VECTORS["vkeys"])
Told = Callable[[str], Any]


def answer_of(vector: dict[str, Any]) -> trace_pb2.TraceResponse:
    return trace_pb2.TraceResponse.FromString(base64.b64decode(vector["answer"]))


@pytest.fixture
def told(services: FakeServices, client_of: Callable[..., Any]) -> Told:
    """The client, told an answer."""

    def tell(vector: dict[str, Any]) -> Any:
        services.traces = [answer_of(vector)]
        return client_of(KEYS).trace(services.traces[0].key)

    return tell


def test_the_committed_vectors_are_what_the_tool_makes() -> None:
    assert json.loads(json.dumps(trace_vectors.vectors())) == VECTORS


@pytest.mark.parametrize("vector", VECTORS["answers"], ids=lambda vector: vector["what"])
def test_the_client_believes_what_holds(told: Told, vector: dict[str, Any]) -> None:
    trace = told(vector)
    assert trace.tree_verified == (trace.withheld == 0)
    assert trace_vectors.lines(answer_of(vector), KEYS) == vector["lines"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["what"])
def test_the_client_refuses_forgeries(told: Told, vector: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        told(vector)


def test_the_checkpoints_are_cosigned() -> None:
    witness = CosignatureVerifier.parse(VECTORS["witness"])
    for vector in VECTORS["answers"]:
        for each in answer_of(vector).checkpoints:
            note = parse_note(each.note)
            assert witness.verify(note.signatures[1], note.text) == VECTORS["cosigned_at"]


def test_the_tags_are_derived_as_the_page_says() -> None:
    secret = bytes.fromhex(VECTORS["index_secret"])
    entries = {
        (event.sealed.log, event.sealed.index): decode(event.sealed.entry)
        for vector in VECTORS["answers"]
        for event in answer_of(vector).events
    }
    for each in VECTORS["tags"]:
        tags = {
            hmac.digest(secret, bytes([named["kind"]]) + named["text"].encode(), "sha256")[:16]
            for named in each["named"]
        }
        assert [tag.hex() for tag in sorted(tags)] == each["tags"]
        assert entries[each["log"], each["index"]].tags == tags_commitment(sorted(tags))
