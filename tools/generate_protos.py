"""Generate the Python code of proto/ into goodstrace/<part>/v1/, with types; nothing is done when nothing changed.

Run as `python tools/generate_protos.py`. Needs grpcio-tools and mypy-protobuf. The generated folders are ignored by
git and hold nothing else: they are made anew as a whole, so that a removed proto leaves no code behind.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "goodstrace"
NOTICE = '"""Generated from proto/ by tools/generate_protos.py: not to be edited."""\n'
_SERVICE = re.compile(r"^service\s", re.MULTILINE)


class GenerationError(Exception):
    """The code could not be generated; the message says why."""


def generate(root: Path = ROOT) -> bool:
    """Bring the generated code of the checkout at `root` up to date.

    Returns: True when code was written, False when it was up to date.
    Raises: GenerationError, with protoc's message where it refused a proto.
    """
    protos = sorted((root / "proto").rglob("*.proto"))
    if not protos:
        raise GenerationError(f"no protos under {root / 'proto'}")
    stamp = root / PACKAGE / ".protos.sha256"
    digest = _digest(root, protos)
    if (
        stamp.exists()
        and stamp.read_text() == digest
        and all(_code(root, proto).exists() for proto in protos)
    ):
        return False
    # Beside its final place, so that moving it there is one rename for each part and importers see whole packages.
    with tempfile.TemporaryDirectory(prefix=".protos-", dir=root) as scratch:
        _run_protoc(root, protos, Path(scratch))
        made = Path(scratch) / PACKAGE
        for folder in (made, *(path for path in made.rglob("*") if path.is_dir())):
            (folder / "__init__.py").write_text(NOTICE)
        for part in sorted(path for path in made.iterdir() if path.is_dir()):
            _replace(root / PACKAGE / part.name, part, Path(scratch))
    stamp.write_text(digest)
    return True


def _digest(root: Path, protos: Sequence[Path]) -> str:
    """Hash all that the generated code depends on."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for tool in ("grpcio-tools", "mypy-protobuf"):
        digest.update(f"{tool} {version(tool)}\n".encode())
    for proto in protos:
        content = proto.read_bytes()
        digest.update(f"{proto.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _code(root: Path, proto: Path) -> Path:
    relative = proto.relative_to(root / "proto")
    return root / relative.with_name(f"{proto.stem}_pb2.py")


def _run_protoc(root: Path, protos: Sequence[Path], out: Path) -> None:
    names = [str(proto.relative_to(root / "proto")) for proto in protos]
    services = [
        name for name, proto in zip(names, protos, strict=True) if _SERVICE.search(proto.read_text("utf-8"))
    ]
    protoc = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{root / 'proto'}",
        f"-I{files('grpc_tools') / '_proto'}",
    ]
    messages = [f"--python_out={out}", f"--mypy_out={out}", *names]
    stubs = [f"--grpc_python_out={out}", f"--mypy_grpc_out={out}", *services]
    for arguments in (messages, stubs) if services else (messages,):
        done = subprocess.run(
            [*protoc, *arguments], capture_output=True, text=True, check=False, env=_with_plugins_on_path()
        )
        if done.returncode != 0:
            raise GenerationError(f"protoc refused:\n{done.stderr}")


def _with_plugins_on_path() -> dict[str, str]:
    """Let protoc find the plugins of this interpreter's environment, activated or not."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _replace(target: Path, made: Path, scratch: Path) -> None:
    if target.exists():
        mark = target / "__init__.py"
        if not mark.exists() or mark.read_text() != NOTICE:
            raise GenerationError(
                f"{target} holds code that was not generated: move it elsewhere, or remove it"
            )
        target.rename(scratch / f"old-{target.name}")
    shutil.move(made, target)


def main() -> int:
    """Generate, and say what was done; return the exit code."""
    try:
        written = generate()
    except GenerationError as error:
        print(f"generate_protos: {error}", file=sys.stderr)
        return 1
    print("protos: code generated" if written else "protos: up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
