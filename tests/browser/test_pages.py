"""The HTML pages, in a real browser: charts are drawn, nothing is loaded, no script fails, any width can be read."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from browser import opened
from conftest import LOCAL, session_for

from spark_keras import DataFrameAnalyzer

# Runs in the page, after its own script, and tells what it saw.
PROBE = """
<script>
addEventListener("load", () => {
  const rows = () => [...document.querySelectorAll("table.cards tbody tr")];
  const shown = () => rows().filter((row) => row.offsetParent !== null || row.getClientRects().length)
    .map((row) => row.querySelector(".name").textContent);
  seen.charts = [...document.querySelectorAll("svg.chart")].map((svg) => ({
    label: svg.getAttribute("aria-label"), width: svg.getBoundingClientRect().width,
    bars: [...svg.querySelectorAll("rect")].map((bar) => bar.getBoundingClientRect().height)}));
  seen.smallest = Math.min(...[...document.querySelectorAll("td, dd, p")].filter((part) => part.getClientRects().length)
    .map((part) => parseFloat(getComputedStyle(part).fontSize)));
  seen.all = shown();
  const sorted = (label) => {
    [...document.querySelectorAll("th button")].find((button) => button.textContent === label).click();
    return shown();
  };
  seen.byMean = sorted("mean");
  seen.byMeanDown = sorted("mean");
  seen.byName = sorted("Column");
  const input = document.getElementById("search");
  input.value = "virginica"; input.dispatchEvent(new Event("input"));
  seen.found = shown();
  input.value = "sepal double"; input.dispatchEvent(new Event("input"));
  seen.foundTwo = shown();
});
</script>
"""


@pytest.fixture(scope="module")
def analysis():
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    table = bunch.data.set_axis(["sepal length", "sepal width", "petal length", "petal width"], axis="columns")
    table["species"] = bunch.target_names[bunch.target].astype(object)
    table["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(150), unit="D")
    table.loc[:9, "sepal width"] = None
    df = session_for(LOCAL).createDataFrame(table).coalesce(1)
    return DataFrameAnalyzer(correlationCols=["sepal length", "petal length"]).fit(df)


@pytest.fixture(scope="module")
def page(analysis):
    return analysis.toHTML(title="Iris <i>& more")


@pytest.mark.parametrize("width", [360, 1280], ids=["phone", "desktop"])
def test_page_in_a_browser(page, tmp_path, width):
    seen = opened(page, PROBE, width, tmp_path)
    assert len(seen["charts"]) == 6
    for chart in seen["charts"]:
        assert chart["width"] > 100 and max(chart["bars"]) > 10, chart
    assert sorted(len(chart["bars"]) for chart in seen["charts"]) == [3, 10, 10, 10, 10, 10]

    assert seen["smallest"] >= 11

    numeric = ["petal width", "sepal width", "petal length", "sepal length"]
    # The mean of the lengths of the species' names is 8.3; a time sorts as text, behind the numbers.
    assert seen["byMean"] == [*numeric, "species", "day"]
    assert seen["byMeanDown"] == seen["byMean"][::-1]
    assert seen["byName"] == sorted(seen["all"])
    assert seen["found"] == ["species"]
    assert sorted(seen["foundTwo"]) == ["sepal length", "sepal width"]


def test_page_loads_nothing_and_escapes_what_it_shows(page):
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", page)
    assert "default-src 'none'" in page
    assert "<i>" not in page and "Iris &lt;i&gt;&amp; more" in page


def test_page_is_written_where_it_is_asked_for(analysis, tmp_path):
    text = analysis.toHTML(str(tmp_path / "iris.html"))
    assert (tmp_path / "iris.html").read_text(encoding="utf-8") == text
