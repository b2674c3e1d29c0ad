"""Chromium, without a window, for tests of pages."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]

# The image shows that a request would have been seen.
CONTROL = "http://127.0.0.1:9/control.png"

# A window is never narrower than 500 pixels, so widths are those of a frame.
FRAME = """<!DOCTYPE html>
<img src="CONTROL">
<iframe src="page.html" style="width:WIDTHpx;height:900px;border:0"></iframe>
<pre></pre>
<script>addEventListener("message", (event) => document.querySelector("pre").textContent = event.data);</script>"""

# In the page, before and after the test's own probe, which adds to what was `seen` when the page was loaded.
BEFORE = """
<script>
const seen = {errors: [], blocked: []};
addEventListener("error", (event) => seen.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => seen.blocked.push(event.blockedURI));
</script>
"""
AFTER = """
<script>
addEventListener("load", () => {
  seen.width = innerWidth;
  seen.overflow = document.documentElement.scrollWidth - innerWidth;
  seen.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
  parent.postMessage(JSON.stringify(seen), "*");
});
</script>
"""


def opened(page, probe, width, folder):
    """What the probe saw in a page of this width, on which no script failed and which loaded nothing."""
    (folder / "page.html").write_text(page.replace("</body>", BEFORE + probe + AFTER + "</body>"), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)).replace("CONTROL", CONTROL), encoding="utf-8")
    log = folder / "net.json"
    options = ["--window-size=1400,1000", "--allow-file-access-from-files", "--virtual-time-budget=5000"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--dump-dom"]
    command = [_browser(), *FLAGS, *options, (folder / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)[1]))
    assert seen["errors"] == [] and seen["blocked"] == [] and seen["resources"] == []
    assert _requested_by_pages(log) == {CONTROL}
    assert seen["width"] == width
    assert seen["overflow"] <= 0, "the page is wider than the screen"
    return seen


def visited(url, folder):
    """The page of a server as its scripts have left it after 20 seconds of its own time, and the URLs it asked for."""
    log = folder / "net.json"
    options = ["--window-size=1400,1000", "--virtual-time-budget=20000"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--dump-dom"]
    done = subprocess.run([_browser(), *FLAGS, *options, url], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, _requested_by_pages(log)


def _browser():
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
    found = [path for path in map(shutil.which, filter(None, names)) if path]
    assert found, "no Chromium or Chrome; scripts/test installs one, or set CHROMIUM to where it is"
    return found[0]


def _requested_by_pages(log):
    """URLs that pages asked for; the browser has requests of its own, which have no initiator."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    parameters = [event.get("params", {}) for event in events]
    urls = {each["url"] for each in parameters if "url" in each and "://" in str(each.get("initiator"))}
    return {url for url in urls if not url.startswith("file:")}
