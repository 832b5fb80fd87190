"""The generator of the protobuf code, on a copy of a small checkout."""

from pathlib import Path

import pytest

from tools.generate_protos import NOTICE, GenerationError, generate

PROTO = 'syntax = "proto3"; package goodstrace.sample.v1; message Sample { string name = 1; }'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "proto" / "goodstrace" / "sample" / "v1"
    folder.mkdir(parents=True)
    (folder / "sample.proto").write_text(PROTO)
    (tmp_path / "goodstrace").mkdir()
    return tmp_path


def test_code_is_made_once_and_again_when_a_proto_changes(checkout: Path) -> None:
    made = checkout / "goodstrace" / "sample"
    assert generate(checkout)
    assert (made / "v1" / "sample_pb2.py").exists()
    assert "name: " in (made / "v1" / "sample_pb2.pyi").read_text()
    assert (made / "__init__.py").read_text() == NOTICE
    assert not list(made.rglob("*grpc*")), "a proto without a service has no stubs"
    assert not generate(checkout)

    proto = checkout / "proto" / "goodstrace" / "sample" / "v1" / "sample.proto"
    proto.rename(proto.with_name("other.proto"))
    assert generate(checkout)
    assert not (made / "v1" / "sample_pb2.py").exists(), "a removed proto leaves no code behind"
    assert (made / "v1" / "other_pb2.py").exists()
    assert not list(checkout.glob(".protos-*"))


def test_a_service_has_stubs_with_types(checkout: Path) -> None:
    proto = checkout / "proto" / "goodstrace" / "sample" / "v1" / "sample.proto"
    proto.write_text(PROTO + "\nservice Samples { rpc Get(Sample) returns (Sample); }\n")
    assert generate(checkout)
    assert (
        "class SamplesStub" in (checkout / "goodstrace" / "sample" / "v1" / "sample_pb2_grpc.pyi").read_text()
    )


def test_a_removed_file_is_made_again(checkout: Path) -> None:
    generate(checkout)
    code = checkout / "goodstrace" / "sample" / "v1" / "sample_pb2.py"
    code.unlink()
    assert generate(checkout)
    assert code.exists()


def test_hand_written_code_is_never_overwritten(checkout: Path) -> None:
    mine = checkout / "goodstrace" / "sample" / "__init__.py"
    mine.parent.mkdir()
    mine.write_text("MINE = 1\n")
    with pytest.raises(GenerationError, match="not generated"):
        generate(checkout)
    assert mine.read_text() == "MINE = 1\n"


def test_a_broken_proto_is_named_and_changes_nothing(checkout: Path) -> None:
    generate(checkout)
    before = (checkout / "goodstrace" / "sample" / "v1" / "sample_pb2.py").read_bytes()
    proto = checkout / "proto" / "goodstrace" / "sample" / "v1" / "sample.proto"
    proto.write_text(PROTO + " message {")
    with pytest.raises(GenerationError, match=r"sample\.proto:1:"):
        generate(checkout)
    assert (checkout / "goodstrace" / "sample" / "v1" / "sample_pb2.py").read_bytes() == before
