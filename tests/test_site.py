"""The built site (`sphinx-build -W -n docs docs/_build`) in a browser without a window: no error on its console, pictures
load, the search finds, and pages are as wide as the screen, on a phone and in the dark. Without a site all of it is skipped;
without Playwright or a Chromium (``pip install playwright``; Debian's package chromium will do) what needs them.
"""

import functools
import http.server
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote

import pytest

SITE = Path(__file__).parent.parent / "docs" / "_build"
PAGES = ["index.html", "lessons/2-autograd.html", "lessons/7-mnist.html", "how-to/threads.html", "why/accuracy.html",
         "reference/generated/sigmoid.html", "reference/generated/estimators.html"]  # fmt: skip

pytestmark = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the site is not built")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        try:
            found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (400, "dark")])
def test_pages_in_a_browser(browser, address, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(f"{page.url}: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on("requestfailed", lambda r: wrong.append(f"{r.url}: {r.failure}") if r.failure != "net::ERR_ABORTED" else None)
    for name in PAGES:
        page.goto(f"{address}/{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)") == []
        dark, light = page.evaluate("['body', '.bd-article p'].map(s => getComputedStyle(document.querySelector(s)))"
                                    ".map((s, i) => (i ? s.color : s.backgroundColor).match(/\\d+/g).slice(0, 3).map(Number))")  # fmt: skip
        contrast = abs(sum(dark) - sum(light)) / 3
        assert contrast > 120 and (sum(dark) < sum(light)) == (scheme == "dark"), (name, dark, light)
    assert wrong == []
    page.close()


def test_search_finds(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/search.html?q=softplus")
    page.wait_for_selector("#search-results li a")
    assert any("softplus" in a for a in page.eval_on_selector_all("#search-results li a", "all => all.map(a => a.href)"))
    page.close()


def test_links_and_pictures_are_there():
    """Of every page, without a browser; and nothing is loaded from elsewhere."""
    missing = []
    for page in (p for p in SITE.rglob("*.html") if "_static" not in p.parts):
        text = page.read_text("utf-8")
        for kind, target in re.findall(r'<(?:a|img|script|link)\b[^>]*?\b(href|src)="([^"]*)"', text):
            if re.match(r"https?:|mailto:|data:", target):
                assert kind == "href" and not re.search(rf'<link[^>]*href="{re.escape(target)}', text), (page, target)
            elif (path := unquote(target.partition("#")[0].partition("?")[0])) and not (page.parent / path).exists():
                missing.append((page.name, target))
    assert missing == []
