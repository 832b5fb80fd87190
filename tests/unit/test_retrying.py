"""Which calls clients try again by themselves."""

import re
from pathlib import Path

from goodstrace.retrying import READERS

PROTO = Path(__file__).resolve().parents[2] / "proto"
WRITERS = {
    "goodstrace.collector.v1.CaptureService",
    "goodstrace.query.v1.AccountService",
    "goodstrace.query.v1.LoginService",
}


def test_every_service_that_only_reads_is_tried_again() -> None:
    services = {
        f"{package}.{name}"
        for path in PROTO.rglob("*.proto")
        for package in re.findall(r"^package ([\w.]+);", path.read_text(), re.MULTILINE)
        for name in re.findall(r"^service (\w+)", path.read_text(), re.MULTILINE)
    }
    assert services - WRITERS == set(READERS)
