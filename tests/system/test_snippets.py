"""What README and the pages show is run as it stands: every Python block, every block with curl, and the commands of README.

On a local stack with TLS and accounts, in a folder that has its `run/`, as a checkout has. Changed are only ports, placeholders (`KEY`)
and sizes. What a snippet takes from elsewhere is what its page says: README's first lines, or a name that says it (`documents`).
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from google.protobuf.json_format import ParseDict

from deploy.service_processes import ROOT
from goodstrace.query.v1 import trace_pb2
from tests.system.local_stack import Local
from tests.unit.collector_builders import document, object_event
from tests.unit.xml_builders import event_element, xml_document

README: Final = ROOT / "README.md"
PORTS: Final = {
    "8080": "COLLECTOR_PORT",
    "8081": "QUERY_HTTP_PORT",
    "50051": "QUERY_GRPC_PORT",
    "50052": "AUDIT_GRPC_PORT",
    "50053": "COLLECTOR_GRPC_PORT",
}
NOT_HERE: Final = {
    "login.md python": "a service account of another host, believed by the system's CAs",
    "tls.md dev-certs": "certificates that the local stack does not have",
    "tls.md docker": "docker compose",
}
"""Blocks that are not run, by page and a word of them, and what they want."""
PASSED_OVER: Final = {
    "make": "the stack that `local` runs is up, and stays up for the tests after it",
    "grpcurl": "no tool of the tests; its request is read below, by the contract",
}
"""Commands that are not run within blocks that are, and why."""
GIVEN: Final = {
    "bulk.md": "documents = [each.read_bytes() for each in sorted(Path('run/samples').glob('*.jsonld'))]",
    "subscriptions.md": "cursor, handle = None, print\ndef save(cursor):\n    raise SystemExit",
    "tls.md": "Path('ca.pem').write_bytes(Path('run/tls/ca.pem').read_bytes())",
    "tracing.md": "from collections import defaultdict\nkey, index = item, defaultdict(list)",
    "witnesses.md": "from goodstrace.policy import Policy\ntarget = 'https://127.0.0.1:50051'\n"
    "Path('witnesses.policy').write_text('quorum none\\n')",
}
"""What a page leaves to its reader, in Python."""
COMMAND: Final = re.compile(r"(?:\.venv/bin/goodstrace|goodstrace|curl|grpcurl|make|epcis|jq|KEY=|ITEM=)")
BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Snippet(NamedTuple):
    """A block of a page: `number` counts the page's blocks from 1."""

    page: str
    number: int
    language: str
    text: str

    @property
    def is_run(self) -> bool:
        """Whether it is one of those that are run here."""
        if any(
            self.page == page and word in (self.language, *self.text.split()) for page, word in _not_here()
        ):
            return False
        is_shown_in_readme = self.page == README.name and self.language == "sh"
        is_shown = is_shown_in_readme or "curl " in self.text
        return self.language == "python" or (is_shown and bool(to_run(self.text)))


def _not_here() -> Iterator[tuple[str, str]]:
    for name in NOT_HERE:
        page, _, word = name.partition(" ")
        yield page, word


def snippets() -> list[Snippet]:
    """Give the blocks that are run, README's first: later ones use what they capture."""
    pages = [README, *sorted((ROOT / "docs").glob("*.md"))]
    found = [
        Snippet(page.name, number, language, text)
        for page in pages
        for number, (language, text) in enumerate(BLOCK.findall(page.read_text()), 1)
    ]
    return [each for each in found if each.is_run]


def commands(text: str) -> list[str]:
    """Give the commands of a block, each with the lines that it goes on in; what they print is left out."""
    found: list[str] = []
    is_open = False
    for line in text.splitlines():
        if is_open:
            found[-1] += f"\n{line}"
        elif COMMAND.match(line):
            found.append(line)
        else:
            continue
        is_open = _goes_on(found[-1])
    return found


def to_run(text: str) -> list[str]:
    """Give those of a block's commands that are run."""
    return [each for each in commands(text) if each.split()[0] not in PASSED_OVER]


def _goes_on(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True  # a quotation is open
    return command.rstrip().endswith(("\\", "|"))


def here(local: Local, text: str) -> str:
    """Put the ports of this stack in the place of the usual ones."""
    for usual, name in PORTS.items():
        text = re.sub(rf"(127\.0\.0\.1:){usual}\b", rf"\g<1>{local.port(name)}", text)
    return text


@pytest.fixture(scope="module")
def folder(local: Local) -> Path:
    """A folder like a checkout after `make up`, with the documents that the pages name."""
    place = local.run_dir.parent
    (place / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (place / "document.jsonld").write_bytes(document(object_event()))
    (place / "document.xml").write_bytes(xml_document(event_element(object_event())))
    return place


def shell(local: Local, folder: Path, script: str) -> str:
    """Run a script as bash does, up to the first command that fails; curl fails where it is refused."""
    environment = {
        "PATH": f"{folder}/.venv/bin:/usr/local/bin:/usr/bin:/bin",
        "GOODSTRACE_CAPTURE_URL": f"https://127.0.0.1:{local.port('COLLECTOR_PORT')}",
        "GOODSTRACE_QUERY_TARGET": f"https://127.0.0.1:{local.port('QUERY_GRPC_PORT')}",
        "GOODSTRACE_AUDIT_TARGET": f"https://127.0.0.1:{local.port('AUDIT_GRPC_PORT')}",
        "GOODSTRACE_CA_FILE": str(local.run_dir / "tls" / "ca.pem"),
    }
    checked = 'curl() { command curl --fail-with-body "$@"; }'
    done = local.run("bash", "-euo", "pipefail", "-c", f"{checked}\n{script}", cwd=folder, **environment)
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}{done.stderr}"
    return done.stdout


def names_of_readme() -> str:
    """README's Python up to its client: the names that the pages take from there."""
    [text] = [each.text for each in snippets() if (each.page, each.language) == (README.name, "python")]
    return text.partition("with Client(")[0]


def key_of_capture() -> str:
    """The line of capture.md that says where KEY comes from."""
    [first, *_] = [each.text for each in snippets() if each.page == "capture.md"]
    return next(each for each in commands(first) if each.startswith("KEY="))


@pytest.mark.parametrize("snippet", snippets(), ids=lambda each: f"{each.page}-{each.number}")
def test_a_snippet_runs_as_it_stands(local: Local, folder: Path, snippet: Snippet) -> None:
    if snippet.language == "python":
        given = "" if snippet.page == README.name else f"{names_of_readme()}{GIVEN.get(snippet.page, '')}\n"
        done = local.run(sys.executable, "-c", here(local, f"{given}{snippet.text}"), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    script = "\n".join([key_of_capture(), *to_run(snippet.text)]).replace("--events 5000", "--events 500")
    script = re.sub(r"(?<![$\w])KEY(?![=\w])", '"$(jq -r .item run/samples/index.json)"', script)
    shell(local, folder, here(local, script))


def test_nothing_is_left_out_without_a_reason() -> None:
    """Each reason is that of a block or a command that is there; and each line of README's blocks is a command, or goes on with one."""
    pages = {name: (ROOT / "docs" / name.partition(" ")[0]).read_text() for name in NOT_HERE}
    for name, text in pages.items():
        assert name.partition(" ")[2] in text, name
    readme = [text for language, text in BLOCK.findall(README.read_text()) if language == "sh"]
    for text in readme:
        assert "\n".join(commands(text)) == text.rstrip("\n")
    for word in PASSED_OVER:
        assert any(each.split()[0] == word for text in readme for each in commands(text)), word


def test_the_request_to_grpcurl_is_one_of_the_contract() -> None:
    """It names the sample's item as the lines before do, and its call and fields are there."""
    texts = [text for language, text in BLOCK.findall(README.read_text()) if language == "sh"]
    [command] = [each for text in texts for each in commands(text) if each.startswith("grpcurl ")]
    words = shlex.split(command.replace("\\\n", " "))
    assert any(each.startswith("ITEM=") for text in texts for each in to_run(text))
    asked = json.loads(words[words.index("-d") + 1].replace("$ITEM", "urn:x:1"))
    service, method = words[-1].split("/")
    described = trace_pb2.DESCRIPTOR.services_by_name[service.removeprefix("goodstrace.query.v1.")]
    request = ParseDict(asked, trace_pb2.TraceRequest())
    assert described.methods_by_name[method].input_type is request.DESCRIPTOR
    assert (request.key, request.direction) == ("urn:x:1", trace_pb2.DIRECTION_UPSTREAM)


def test_a_command_ends_where_bash_ends_it() -> None:
    text = "curl a \\\n  b\nHTTP/1.1 202\njq c |\n  curl d\ncurl -d '{\n}' # that's all\nmake e\n"
    assert to_run(text) == ["curl a \\\n  b", "jq c |\n  curl d", "curl -d '{\n}' # that's all"]
    assert commands(text) == [*to_run(text), "make e"]
