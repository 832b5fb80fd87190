"""The clients of examples/, built once in .stack/examples: copied there with proto/, so that nothing is made in the checkout.

Each has a build.sh that anybody can run; here `protoc` is the one of grpcio-tools, and Go our toolchain.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.go_programs import GO, ROOT, STACK, go_environment

BUILT = STACK / "examples"
_LEFT_OUT = shutil.ignore_patterns("bin", "dist", "node_modules", "pb", "target")


class ExampleError(Exception):
    """A client does not build; the message has what the build said."""


class ToolMissing(ExampleError):
    """What a client is built with is not on this machine; the message says what and how to get it."""


@dataclass(frozen=True)
class ExampleClient:
    """A client of another language.

    Args:
        name: its folder in examples/.
        needs: programs that must be on PATH.
        wanted: how to get them.
        command: runs what was built in a folder.
    """

    name: str
    needs: tuple[str, ...]
    wanted: str
    command: Callable[[Path], Sequence[str]]

    @property
    def source(self) -> Path:
        """The folder of its sources."""
        return ROOT / "examples" / self.name

    def missing(self) -> str:
        """Say what is missing to build it; empty where nothing is."""
        paths = os.pathsep.join((str(GO.parent), os.environ.get("PATH", "")))
        lacking = [each for each in self.needs if shutil.which(each, path=paths) is None]
        return f"{', '.join(lacking)} not there: {self.wanted}" if lacking else ""

    def build(self) -> Sequence[str]:
        """Build it, unless that was done for the same sources; gives the command to run it.

        Raises: ToolMissing, ExampleError.
        """
        built = BUILT / f"{self.name}-{self._digest()}"
        if not built.exists():
            if missing := self.missing():
                raise ToolMissing(f"the {self.name} client: {missing}")
            BUILT.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{self.name}-", dir=BUILT) as scratch:
                self._build(Path(scratch))
                for old in BUILT.glob(f"{self.name}-????????????????"):
                    shutil.rmtree(old, ignore_errors=True)
                Path(scratch, "tree").rename(built)
        return self.command(built / "examples" / self.name)

    def _build(self, scratch: Path) -> None:
        shutil.copytree(ROOT / "proto", scratch / "tree" / "proto")
        folder = scratch / "tree" / "examples" / self.name
        shutil.copytree(self.source, folder, ignore=_LEFT_OUT)
        tools = scratch / "tools"
        tools.mkdir()
        protoc = tools / "protoc"
        protoc.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grpc_tools.protoc "$@"\n')
        protoc.chmod(0o755)
        path = os.pathsep.join((str(tools), str(GO.parent), os.environ.get("PATH", "")))
        environment = {**go_environment(), "PATH": path, "GOFLAGS": "-mod=readonly -modcacherw"}
        done = subprocess.run(
            ["nice", "./build.sh"], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ExampleError(f"the {self.name} client does not build:\n{done.stdout}{done.stderr}")

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for base in (ROOT / "proto", self.source):
            ignored = set(_LEFT_OUT(str(base), [each.name for each in base.iterdir()]))
            files = [path for path in base.rglob("*") if path.is_file()]
            for path in sorted(files):
                name = path.relative_to(base)
                if name.parts[0] not in ignored and "pb" not in name.parts:
                    digest.update(f"\n{name}\n".encode() + path.read_bytes())
        return digest.hexdigest()[:16]


def _java(folder: Path) -> Sequence[str]:
    classes = os.pathsep.join((str(folder / "target" / "classes"), str(folder / "target" / "jars" / "*")))
    return ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", classes, "Client"]


CLIENTS = (
    ExampleClient("go", ("go",), "run `make install-go`", lambda folder: [str(folder / "bin" / "client")]),
    ExampleClient("java", ("javac", "mvn"), "install a JDK 17 or later, and Maven", _java),
    ExampleClient(
        "typescript",
        ("node", "npm"),
        "install Node 18 or later, with npm",
        lambda folder: ["node", str(folder / "dist" / "client.js")],
    ),
)


def main() -> int:
    """Build all that can be built, side by side; what lacks its tools is told of and passed over."""

    def built(client: ExampleClient) -> tuple[bool, str]:
        begun = time.monotonic()
        try:
            client.build()
        except ToolMissing as error:
            return True, f"not built: {error}\n"
        except ExampleError as error:
            return False, f"{error}\n"
        taken = time.monotonic() - begun
        return True, f"{client.name} client: built in {taken:.0f} s\n" if taken > 1 else ""

    with ThreadPoolExecutor(len(CLIENTS)) as builders:
        outcomes = list(builders.map(built, CLIENTS))
    for _, text in outcomes:
        sys.stdout.write(text)
    return 0 if all(good for good, _ in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
