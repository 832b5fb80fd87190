"""Go programs that tests and benches run: built once by the toolchain of `make install-go`, anew when sources change.

Modules are pinned by each folder's go.sum. Where they are downloaded from is Go's own business (`GOPROXY`).
"""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STACK = ROOT / ".stack"
GO = STACK / "go" / "go" / "bin" / "go"
PROGRAMS = STACK / "go-programs"
# -modcacherw: a module cache that `make clean` can remove.
BUILD = ["build", "-mod=readonly", "-modcacherw", "-trimpath", "-buildvcs=false"]


class GoError(Exception):
    """There is no toolchain, or a program does not build; the message says what to do."""


@dataclass(frozen=True)
class GoProgram:
    """A program to be built.

    Args:
        name: file name of the executable.
        folder: the module, relative to the repository's root.
        package: the package in it, or a tool that its go.mod names.
        cgo: whether what it has in C is built too.
    """

    name: str
    folder: str
    package: str = "."
    cgo: bool = True

    @property
    def is_built(self) -> bool:
        """Whether the executable is there for the sources as they are."""
        return GO.exists() and _built(ROOT / self.folder, self.name, self.package).exists()

    def build(self) -> Path:
        """Return the executable, built before or now. Raises GoError."""
        return go_build(ROOT / self.folder, self.name, self.package, cgo=self.cgo)

    def run(self, *arguments: str) -> str:
        """Run it to its end and return what it prints. Raises GoError."""
        done = subprocess.run([self.build(), *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GoError(f"{self.name} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


INTEROP = GoProgram("interop", "tests/interop/go")
READER = GoProgram("reader", "tests/interop/reader")
LITEWITNESS = GoProgram("litewitness", "tests/interop/reader", "filippo.io/torchwood/cmd/litewitness")
DEX = GoProgram("dex", "tests/interop/dex", "github.com/dexidp/dex/cmd/dex", cgo=False)
COMPOSE = GoProgram("compose", "tests/interop/compose", cgo=False)
OTELCOL = GoProgram("otelcol", "tests/interop/otelcol", cgo=False)
KUSTOMIZE = GoProgram("kustomize", "tests/interop/kustomize", cgo=False)
LONG = {each.name: each for each in (OTELCOL,)}
"""Those whose tests are run where they were built: building them takes longer than all the others."""


def go_build(source_dir: Path, name: str, package: str = ".", *, cgo: bool = True) -> Path:
    """Build a package of the module in `source_dir`, unless that was done for the same sources.

    Returns: the executable in .stack/go-programs.
    Raises: GoError.
    """
    if not GO.exists():
        raise GoError("the Go toolchain is not there: run `make install-go`")
    program = _built(source_dir, name, package)
    if program.exists():
        return program
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    scratch = program.with_suffix(f".{os.getpid()}")
    command = ["nice", str(GO), *BUILD, "-o", str(scratch), package]
    environment = go_environment() if cgo else {**go_environment(), "CGO_ENABLED": "0"}
    done = subprocess.run(
        command, cwd=source_dir, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise GoError(f"{name} does not build:\n{done.stdout}{done.stderr}")
    for old in PROGRAMS.glob(f"{name}-????????????????"):
        old.unlink(missing_ok=True)
    scratch.replace(program)
    return program


def _built(source_dir: Path, name: str, package: str) -> Path:
    return PROGRAMS / f"{name}-{_digest(source_dir, package)}"


def go_environment() -> dict[str, str]:
    """The environment for `go`: our toolchain and no other, its caches in .stack unless they are set."""
    return {
        "GOMODCACHE": str(STACK / "go-cache" / "modules"),
        "GOCACHE": str(STACK / "go-cache" / "build"),
        **os.environ,
        "GOROOT": str(GO.parents[1]),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _digest(source_dir: Path, package: str) -> str:
    digest = hashlib.sha256(f"{package}\n{(GO.parents[1] / 'VERSION').read_text()}".encode())
    sources = [path for path in source_dir.rglob("*") if path.suffix in {".go", ".mod", ".sum"}]
    for path in sorted(sources):
        digest.update(f"\n{path.relative_to(source_dir)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def main() -> int:
    """Build the programs of every test run: the first time takes a minute or two, of which the tests then know nothing.

    The OpenTelemetry Collector takes longer than all of these: its tests are run where it was built (`make otelcol`, `make soak`).
    """
    named = tuple(LONG[name] for name in sys.argv[1:])
    programs = named or (INTEROP, READER, LITEWITNESS, DEX, COMPOSE, KUSTOMIZE)
    for program in programs:
        begun = time.monotonic()
        try:
            program.build()
        except GoError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        if (taken := time.monotonic() - begun) > 1:
            sys.stdout.write(f"{program.name}: built in {taken:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
