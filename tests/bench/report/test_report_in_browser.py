import html
import json
import re
import shutil
import subprocess

import pytest

from tests.bench import results
from vitrify.bench.report import html_report

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
SECONDS = 120
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser on PATH ({', '.join(NAMES)})"),
]
# Appended to a copy of the page: texts that leave their drawing, cover each other or were not laid out, and the width.
MEASURE = """
const found = {wide: document.documentElement.scrollWidth - document.documentElement.clientWidth, texts: 0,
               width: innerWidth, outside: [], covered: []};
for (const svg of document.querySelectorAll('svg[role=img]')) {
  const area = svg.getBoundingClientRect(), seen = [];
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect(), said = text.textContent;
    found.texts += 1;
    if (box.width === 0 || box.left < area.left - 0.5 || box.right > area.right + 0.5 ||
        box.top < area.top - 0.5 || box.bottom > area.bottom + 0.5) found.outside.push(said);
    for (const [other, name] of seen) {
      const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
      const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
      if (across > 1 && down > 3) found.covered.push(said + ' / ' + name);
    }
    seen.push([box, said]);
    if (!svg.querySelector('.band')) continue;
    for (const shape of svg.querySelectorAll('rect, path, circle')) {
      const drawn = shape.getBoundingClientRect();
      const across = Math.min(box.right, drawn.right) - Math.max(box.left, drawn.left);
      const down = Math.min(box.bottom, drawn.bottom) - Math.max(box.top, drawn.top);
      if (across >= 0 && down > 1) found.covered.push(said + ' / ' + shape.getAttribute('class'));
    }
  }
}
parent.postMessage(JSON.stringify(found), '*');
"""
# A window is never as narrow as a phone, a frame is.
FRAME = """<!DOCTYPE html><body><script>
addEventListener('message', (event) => {{ document.body.dataset.found = event.data; }});
</script><iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{page}"></iframe></body>"""


def opened(path, folder, *words):
    """Return what a headless browser makes of a file: its elements, and what it says of it."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [str(BROWSER), *flags, f"--user-data-dir={folder}", *words, path.as_uri()],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("make", results.ALL)
def test_the_page_opens_without_a_complaint(make, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(html_report(make()), encoding="utf-8")
    elements, said = opened(path, tmp_path / "profile", "--dump-dom")
    assert said == []
    assert "How to read it" in elements
    assert elements.count("<script") == 1


def test_a_complaint_would_be_seen(tmp_path):
    path = tmp_path / "report.html"
    page = html_report(results.tiny())
    path.write_text(page.replace("</body>", '<img src="https://example.com/a.png"></body>'), encoding="utf-8")
    _, said = opened(path, tmp_path / "profile", "--dump-dom")
    assert any("Content Security Policy" in line for line in said)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("make", results.ALL)
def test_no_text_leaves_its_drawing_or_covers_another(make, width, tmp_path):
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html_report(make()), count=1)
    page = page.replace("</body>", f"<script>{MEASURE}</script></body>")
    path = tmp_path / "framed.html"
    path.write_text(FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    elements, _ = opened(path, tmp_path / "profile", "--dump-dom", "--window-size=1600,1000")
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', elements).group(1)))
    assert found["width"] == width
    assert found["wide"] <= 0
    assert (found["texts"] > 0) == (make is not results.all_failed)
    assert found["outside"] == []
    assert found["covered"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_drawn(scheme, tmp_path):
    from PIL import Image

    path, picture = tmp_path / "report.html", tmp_path / "report.png"
    path.write_text(html_report(results.minilm()), encoding="utf-8")
    theme = (
        ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else ["--blink-settings=preferredColorScheme=1"]
    )
    opened(path, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1280,2000", *theme)
    with Image.open(picture) as image:
        shown = image.convert("RGB")
        assert (sum(shown.getpixel((2, 2))) < 200) == (scheme == "dark")
        assert len(shown.getcolors(1 << 24)) > 50
