"""A real Prometheus as a process for tests, with the project's own configuration and rules. Debian: apt install prometheus."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from deploy.processes import HOST, Daemon, free_port
from deploy.service_processes import ROOT, not_ready
from tests.deadlines import DEADLINE_S

FOLDER = ROOT / "deploy" / "prometheus"
MISSING = "Debian's package prometheus is not installed: apt install prometheus prometheus-node-exporter"


class NodeExporter:
    """What shows the machine's disks, on a free port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        program = shutil.which("prometheus-node-exporter") or "prometheus-node-exporter"
        command = [program, f"--web.listen-address={HOST}:{self.port}"]
        self._daemon = Daemon(name="node-exporter", command=command, run_dir=folder, ports=(self.port,))

    def __enter__(self) -> Self:
        self._daemon.start()
        self._daemon.wait_ready(lambda: not_ready(f"http://{HOST}:{self.port}/"), 30)
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.kill()
        self._daemon.stop()


class Prometheus:
    """Prometheus by the files of deploy/prometheus, with other targets and a shorter interval.

    Args:
        folder: its data, log and copies of the files go here.
        targets: host:port by the label `job`.
        changed: makes of the text of each file of rules another one.
        every: how often rules are evaluated.
    """

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, str],
        changed: Callable[[str], str] | None = None,
        *,
        every: str = "3s",
    ) -> None:
        self.port = free_port()
        self._client = httpx.Client(base_url=f"http://{HOST}:{self.port}", timeout=DEADLINE_S)
        home = folder / "prometheus"
        shutil.copytree(FOLDER, home)
        if changed is not None:
            for rules in (home / "rules").glob("*.yml"):
                rules.write_text(changed(rules.read_text()))
        config = (FOLDER / "prometheus.yml").read_text()
        assert config.count("_interval: 15s") == 2
        (home / "prometheus.yml").write_text(
            config.replace("scrape_interval: 15s", "scrape_interval: 1s")
            .replace("evaluation_interval: 15s", f"evaluation_interval: {every}")
            .replace("localhost:9090", f"{HOST}:{self.port}")
        )
        made = [{"targets": [address], "labels": {"job": job}} for job, address in targets.items()]
        (home / "targets.yml").write_text(yaml.safe_dump(made))
        self._daemon = Daemon(
            name="prometheus",
            command=[
                shutil.which("prometheus") or "prometheus",
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--enable-feature=exemplar-storage",
                f"--web.listen-address={HOST}:{self.port}",
                "--log.level=warn",
            ],
            run_dir=folder,
            ports=(self.port,),
        )

    def __enter__(self) -> Self:
        self._daemon.start()
        self._daemon.wait_ready(lambda: not_ready(f"http://{HOST}:{self.port}/-/ready"), 30)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._daemon.kill()
        self._daemon.stop()

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask the HTTP API; gives what is in `data`."""
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        told = answer.json()
        assert told["status"] == "success", (parameters, told)
        return told["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Evaluate an expression now: a list of series with their values."""
        result: list[dict[str, Any]] = self.ask("query", query=expr)["result"]
        return result

    def value(self, expr: str) -> float:
        """Evaluate an expression that has one value."""
        [series] = self.query(expr)
        return float(series["value"][1])
