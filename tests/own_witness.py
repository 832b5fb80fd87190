"""A witness of ours as a process of a test's own, as `goodstrace witness` runs it."""

import subprocess
import sys
from pathlib import Path

from deploy.processes import HOST, Daemon, free_port
from deploy.service_processes import ROOT, not_ready
from tests.deadlines import DEADLINE_S


class Witness:
    """A witness of ours that follows the logs of a system."""

    def __init__(self, folder: Path) -> None:
        """Make its key in `folder`."""
        self.folder, self.port, self.metrics_port = folder, free_port(), free_port()
        made = subprocess.run(
            [*self._command, "--init", "--name", "witness.example/one"],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=DEADLINE_S,
        )  # fmt: skip
        assert made.returncode == 0
        self.vkey = (folder / "witness.vkey").read_text().strip()

    @property
    def _command(self) -> list[str]:
        return [str(Path(sys.executable).parent / "goodstrace"), "witness", "--folder", str(self.folder)]

    def policy(self, path: Path) -> Path:
        """Write the policy by which it must cosign."""
        path.write_text(f"witness one {self.vkey} http://{HOST}:{self.port}\nquorum one\n")
        return path

    def follow(self, url: str) -> Daemon:
        """Start it; gives the process, which is ready."""
        options = ["--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        options += ["--logs-url", url, "--lists-every", "1"]
        daemon = Daemon(
            name="witness", command=[*self._command, *options], run_dir=self.folder,
            ports=(self.port, self.metrics_port), cwd=ROOT,
        )  # fmt: skip
        daemon.start()
        self.wait_ready(daemon)
        return daemon

    def wait_ready(self, daemon: Daemon) -> None:
        """Return when it is ready."""
        daemon.wait_ready(lambda: not_ready(f"http://{HOST}:{self.metrics_port}/readyz"), 60)
