"""The Go sources of this repository are in the one usual form."""

import subprocess

from tests.go_programs import GO, ROOT


def test_go_sources_are_formatted() -> None:
    sources = [
        str(path)
        for part in ("tests/interop", "bench/peers", "examples")
        for path in (ROOT / part).rglob("*.go")
    ]
    assert len(sources) > 5
    done = subprocess.run(
        [str(GO.with_name("gofmt")), "-l", *sources], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
