"""What a real browser makes of the report: it draws, it is quiet, and it lets nothing in or out."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from make_material import make_material
from PIL import Image

from phonograph.report import render_report

pytestmark = pytest.mark.browser
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=4000",
)


@dataclass(frozen=True)
class Visit:
    """What a visit left: the document after its scripts ran, and what the page said to the console."""

    dom: str
    console: tuple[str, ...]


@pytest.fixture
def visit(chromium: str, tmp_path: Path) -> Callable[..., Visit]:
    """Open a page in a fresh browser and return what came of it."""

    def go(page: str, *flags: str) -> Visit:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        console = tuple(line for line in done.stderr.splitlines() if ":CONSOLE:" in line or "CONSOLE(" in line)
        return Visit(done.stdout, console)

    return go


@pytest.fixture(scope="module")
def small_page() -> str:
    """A report with fewer configurations, which loads faster."""
    return render_report(make_material(n=16))


def with_script(page: str, script: str, *, first: bool = False) -> str:
    """Return the page with one more script that its policy allows: only a test can add it to the policy."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = page.replace("script-src ", f"script-src &#x27;sha256-{digest}&#x27; ", 1)
    place = "<body>" if first else "</body>"
    added = f"<script>{script}</script>"
    return allowed.replace(place, place + added if first else added + place)


WIDE = """
  const wide = [...document.querySelectorAll('main *')]
    .filter((e) => !e.closest('.scroll, pre, .stage, svg') && e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => e.tagName + '.' + e.className);
  document.body.dataset.wide = wide.join(' ') + '|' + (document.documentElement.scrollWidth > innerWidth);
"""


def test_draws_fits_and_says_nothing_to_the_console(visit, small_page):
    found = visit(with_script(small_page, WIDE), "--dump-dom", "--window-size=1400,1000")
    assert found.console == ()
    assert found.dom.count("<canvas") >= 3
    assert found.dom.count('class="crystal live"') == 3
    assert re.search(r"\d+ of 616 edges shown", found.dom)
    assert 'data-wide="|false"' in found.dom


@pytest.mark.slow
def test_fits_a_narrow_window(visit, small_page):
    found = visit(with_script(small_page, WIDE), "--dump-dom", "--window-size=700,1000")
    assert 'data-wide="|false"' in found.dom


@pytest.mark.slow
def test_policy_stops_what_is_slipped_in(visit, small_page):
    # Also shows that the console, on whose silence the other tests rely, reports what the policy refuses.
    evil = (
        '<img src="https://collector.invalid/x.png"><script>document.title="owned"</script><p style="color:red">x</p>'
    )
    found = visit(small_page.replace("<main>", "<main>" + evil), "--dump-dom")
    said = "\n".join(found.console)
    assert "<title>owned" not in found.dom
    for directive in ("img-src", "script-src", "style-src"):
        assert directive in said
    assert found.dom.count('class="crystal live"') == 3


@pytest.mark.slow
def test_hostile_names_are_words(visit):
    words = "</script></title><img src=x onerror=\"document.title='owned'\">"
    material = make_material(n=6, models=1)
    explained = replace(material.explanations[0], model=words)
    sets = (replace(material.sets[0], name=words), *material.sets[1:])
    found = visit(render_report(replace(material, title=words, sets=sets, explanations=(explained,))), "--dump-dom")
    assert found.console == ()
    assert "<img" not in found.dom
    assert html.unescape(re.search(r"<title>(.*?)</title>", found.dom).group(1)) == words


@pytest.mark.slow
def test_controls_work(visit, small_page):
    script = """
      const slider = document.querySelector('input[data-threshold]');
      const tally = document.querySelector('[data-tally="explanation-0"]');
      const view = document.querySelector('[data-view="1"]');
      const set = (value) => { slider.value = value; slider.dispatchEvent(new Event('input')); };
      const said = [];
      set('0');
      setTimeout(() => {
        said.push(tally.textContent);
        set('1');
        setTimeout(() => {
          said.push(tally.textContent);
          view.click();
          said.push(view.getAttribute('aria-pressed'));
          document.body.dataset.said = said.join('|');
        }, 1000);
      }, 1000);
    """
    found = visit(with_script(small_page, script), "--dump-dom")
    assert found.console == ()
    assert 'data-said="616 of 616 edges shown|0 of 616 edges shown|true"' in found.dom


NO_WEBGL = "HTMLCanvasElement.prototype.getContext = () => null;"


def test_without_webgl_the_still_drawing_stays(visit, small_page):
    found = visit(with_script(small_page, NO_WEBGL, first=True), "--dump-dom")
    assert 'class="crystal live"' not in found.dom
    assert found.dom.count('class="still"') == 3
    assert found.dom.count(">This browser has no WebGL: still drawings are shown.<") == 2
    assert found.console == ()


@pytest.mark.slow
def test_crystal_is_shaded_in_three_dimensions(visit, small_page, tmp_path):
    flags = ("--window-size=1400,1200",)
    live, flat = tmp_path / "live.png", tmp_path / "flat.png"
    visit(small_page, *flags, f"--screenshot={live}")
    visit(with_script(small_page, NO_WEBGL, first=True), *flags, f"--screenshot={flat}")
    # Bromine is drawn dark red: mostly one colour in the still drawing, in shades by the viewer.
    assert _flatness(flat) > 0.4
    assert _flatness(live) < 0.1


def _flatness(picture: Path) -> float:
    """Return the share of the commonest among the dark red pixels of a picture."""
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3).astype(int)
    red = pixels[(pixels[:, 0] > 1.8 * pixels[:, 1]) & (pixels[:, 0] > 1.8 * pixels[:, 2])]
    counts = np.unique(red, axis=0, return_counts=True)[1]
    assert counts.sum() > 3000
    return float(counts.max() / counts.sum())
