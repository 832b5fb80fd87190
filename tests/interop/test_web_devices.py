"""The web pages with what browsers have: a camera, a printer, downloads; accounts' forms by axe-core.

Needs Debian's chromium; where it is not there these tests are skipped, and say so.
"""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pypdfium2
import pytest
import segno
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browsers import DESKTOP, PHONE, launched, needs_chromium, opening
from tests.deadlines import DEADLINE_MS, DEADLINE_S
from tests.interop.test_web_browser import state
from tests.merchant_world import WORKS, MerchantWorld, person, served
from tests.unit.test_web_sign_in import World
from tests.web_world import EVENTS, ITEM_PATH, SHOPPER

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 640, 480
FRAMES = 5
pytestmark = needs_chromium

__all__ = ["served"]  # the fixture


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera sees a code."""
    video = tmp_path_factory.mktemp("camera") / "code.y4m"
    video.write_bytes(_video(f"https://id.gs1.org{ITEM_PATH}"))
    with launched(
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={video}"
    ) as running:  # fmt: skip
        yield running


@pytest.fixture
def opened(browser: Browser, served: tuple[MerchantWorld, str]) -> Iterator[Callable[..., Page]]:
    served[0].who = SHOPPER
    with opening(browser, served[1]) as new:
        yield new


def _video(text: str) -> bytes:
    """A film of a QR code on a grey table, uncompressed (YUV4MPEG2), with light that changes a little."""
    code = [list(row) for row in segno.make(text, error="m").matrix_iter(scale=8, border=4)]
    left, top = (WIDTH - len(code[0])) // 2, (HEIGHT - len(code)) // 2
    frames = []
    for number in range(FRAMES):
        grey = bytearray([120 + number]) * (WIDTH * HEIGHT)
        for y, row in enumerate(code, top):
            grey[y * WIDTH + left : y * WIDTH + left + len(row)] = bytes(
                30 if dark else 220 + number for dark in row
            )
        frames.append(b"FRAME\n" + bytes(grey) + bytes([128]) * (WIDTH * HEIGHT // 2))
    return f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420jpeg\n".encode() + b"".join(frames)


def test_the_camera_reads_a_code(opened: Callable[..., Page]) -> None:
    page = opened(size=PHONE, permissions=["camera"])
    page.goto("/scan")
    page.click("#scan-start")
    page.wait_for_url(f"**{ITEM_PATH}", timeout=DEADLINE_MS)
    assert page.text_content("h1") == "Arctic salmon fillet, 250 g"


def test_a_printed_trace_has_answers_and_seals_and_no_navigation(
    served: tuple[MerchantWorld, str], opened: Callable[..., Page]
) -> None:
    served[0].who = person(WORKS)
    page = opened(color_scheme="dark")
    page.goto(ITEM_PATH)
    assert state(page) == "good"
    assert page.is_visible(".sections")
    page.emulate_media(media="print")
    for there in (
        "h1",
        ".notices",
        "#answer-from",
        "#answer-cold",
        "#answer-why",
        "#proof-status",
        ".map",
        ".chart",
        ".event .seal",
    ):
        assert page.locator(there).first.is_visible(), there
    for away in (".languages", ".sections", ".who", ".bottom nav", ".actions", ".skip"):
        assert not any(each.is_visible() for each in page.locator(away).all()), away
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    paper = pypdfium2.PdfDocument(io.BytesIO(page.pdf(format="A4")))
    text = " ".join(sheet.get_textpage().get_text_range() for sheet in paper)
    assert len(paper) >= 2
    for printed in (
        "Arctic salmon fillet",
        "Norway",
        "1.0 – 3.9 °C",
        "verified here",
        "West Lake fresh market",
    ):
        assert printed in text, f"{printed} is not on paper: {text}"
    assert "繁體中文" not in text


@pytest.mark.parametrize("changed", [False, True], ids=["as it is", "changed"])
def test_a_downloaded_proof_is_checked_by_other_programs(
    served: tuple[MerchantWorld, str], opened: Callable[..., Page], tmp_path: Path, changed: bool
) -> None:
    page = opened()
    page.goto(ITEM_PATH)
    with page.expect_download() as download:
        page.click("#proof a[download]")
    proof, keys = tmp_path / download.value.suggested_filename, tmp_path / "keys"
    download.value.save_as(proof)
    assert proof.suffix == ".goodstrace-proof"
    keys.write_text("".join(f"{each.verifier.vkey()}\n" for each in served[0].logs.signers.values()))
    if changed:
        bundle = json.loads(proof.read_text())
        bundle["entries"][0]["parts"][0]["content"] = bundle["entries"][1]["parts"][0]["content"]
        proof.write_text(json.dumps(bundle, separators=(",", ":"), ensure_ascii=False, sort_keys=True))
    node = shutil.which("node")
    assert node is not None, "Node is not there"
    for command in (
        [str(Path(sys.executable).with_name("goodstrace")), "verify", "--vkeys", str(keys), str(proof)],
        [node, str(ROOT / "examples" / "javascript" / "verify.mjs"), str(keys), str(proof)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        assert (done.returncode == 0) is not changed, (command, done.stdout, done.stderr)
        assert done.returncode in {0, 1}, done.stderr
        if not changed:
            assert done.stdout.count("event") >= len(EVENTS)


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
def test_axe_finds_no_serious_fault_of_forms_of_accounts(
    browser: Browser, size: dict[str, int], scheme: str, tell: Callable[[str], None]
) -> None:
    world = World()
    with world.served() as url, opening(browser, url) as new:
        page, passed = new(size=size, color_scheme=scheme, bypass_csp=True), 0
        page.goto("/sign-in")
        passed += _axe(page)
        page.fill("#name", "ann")
        page.fill("#password", "wrong horse")
        page.click("#sign-in-go")
        passed += _axe(page)
        page.fill("#password", "right horse")
        page.click("#sign-in-go")
        page.wait_for_selector("form[action='/sign-out']")
        for path in ("/password", "/second-factor"):
            page.goto(path)
            passed += _axe(page)
        page.fill("#password", "right horse")
        page.click("main form button[type=submit]")
        page.wait_for_selector("text=JBSWY3DP")
        passed += _axe(page)
    tell(
        f"web: axe-core on forms of accounts, {scheme}, {size['width']} px: {passed} rules passed on 5 pages"
    )


def _axe(page: Page) -> int:
    """See that there is no serious fault; gives how many rules passed."""
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": rules}).response
    serious = [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
    assert not serious, (page.url, serious)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.url
    return len(found["passes"])
