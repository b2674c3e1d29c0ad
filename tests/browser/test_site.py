"""The site: links lead somewhere, every public name is explained, everything is found, nothing comes from elsewhere."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import visited

import spark_keras
from spark_keras import early_stopping, preparation

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# Attributes whose value a browser fetches without being asked.
FETCHED = {"src", "srcset", "data", "poster", "background"}
FETCHED_RELATIONS = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "preconnect",
    "dns-prefetch",
    "prefetch",
    "manifest",
}
ELSEWHERE = re.compile(r"(https?:)?//", re.IGNORECASE)


class Page(HTMLParser):
    """The ids of a page, the code below each, and what a browser fetches for it."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.fetched, self.classes = set(), [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id"))
        self.classes.update(given.get("class", "").split())
        self.fetched += [value for name, value in given.items() if name in FETCHED]
        if tag == "link" and FETCHED_RELATIONS & set(given.get("rel", "").split()):
            self.fetched.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with every warning as an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


def public_names():
    """The dotted names, each once."""
    yield from (f"spark_keras.{name}" for name in spark_keras.__all__)
    for module in (early_stopping, preparation):
        yield from (f"{module.__name__}.{name}" for name in module.__all__ if name not in spark_keras.__all__)


def test_every_public_name_has_its_entry_with_all_its_parameters(site):
    entries = {}
    for path in (site / "api").glob("*.html"):
        parts = re.split(r'<h\d id="(spark_keras\.[\w.]+)"', path.read_text(encoding="utf-8"))
        entries.update(zip(parts[1::2], parts[2::2]))
    for name in public_names():
        module, _, last = name.rpartition(".")
        value = getattr(sys.modules[module], last)
        error = isinstance(value, type) and issubclass(value, Exception)
        parameters = [] if error else inspect.signature(value).parameters.values()
        named = {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
        words = set(re.findall(r"\w+", re.sub(r"<[^>]*>", " ", entries[name])))
        assert {last, *named} <= words, name


def test_entries_of_the_api_have_parameters_and_code(site):
    text = (site / "api" / "estimators.html").read_text(encoding="utf-8")
    classifier = text[text.index('id="spark_keras.KerasClassifier"') :]
    assert "averagingFrequency" in classifier[: classifier.index('id="spark_keras.KerasRegressor"')]
    text = (site / "api" / "analysis.html").read_text(encoding="utf-8")
    analyzer = text[text.index('id="spark_keras.DataFrameAnalyzer"') :]
    assert '<span class="gp">&gt;&gt;&gt; </span>' in analyzer[: analyzer.index('id="spark_keras.DataFrameAnalysis"')]


def test_no_page_loads_anything_from_another_host(site, pages):
    for name, page in pages.items():
        assert [url for url in page.fetched if ELSEWHERE.match(url)] == [], name
        # Material fetches the programs for these from another host.
        assert not page.classes & {"mermaid", "arithmatex"}, name
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), sheet.name


def test_search_finds_every_page(site, pages):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert found >= set(pages) - {"404.html"}
    texts = " ".join(entry["text"] for entry in index["docs"])
    for word in ("averagingFrequency", "categoricalToOneHot", "falseAlarmRate"):
        assert word in texts
    anchors = {entry["location"].partition("#")[2] for entry in index["docs"]}
    assert set(public_names()) <= anchors


def test_search_in_a_browser_finds_a_param_and_asks_no_other_host(site, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        page, requested = visited(f"{address}index.html?q=averagingFrequency", tmp_path)
        server.shutdown()
    results = page[page.index('<ol class="md-search-result__list"') :]
    assert "api/estimators.html" in results and "training.html" in results
    assert f"{address}search/search_index.json" in requested
    assert {url for url in requested if not url.startswith((address, "data:"))} == set()


def test_pages_of_the_repository_are_pages_of_the_site(pages):
    docs = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    examples = {f"examples/{path.stem}.html" for path in (ROOT / "examples").glob("*.py")}
    others = {"index.html", "changelog.html", "contributing.html", "security.html", "examples/index.html", "404.html"}
    assert set(pages) == docs | examples | others
