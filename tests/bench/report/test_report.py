import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.bench import results
from vitrify.bench.report import html_report
from vitrify.bench.report.drawing import element, fitted, scale_of, width_of
from vitrify.bench.report.style import STYLE
from vitrify.bench.result import Result
from vitrify.bench.table import table_parts
from vitrify.bench.units import duration, significant

VOID = {"meta", "link"}
SVG = re.compile(r"<svg .*?</svg>", re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
MADE = {make.__name__: make() for make in results.ALL}
PAGES = {name: html_report(result) for name, result in MADE.items()}
every = pytest.mark.parametrize("name", MADE)


class Tree(HTMLParser):
    """Reads a page, and fails where an element is not closed by its own end."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text, self.headings, self.attributes = [], [], [], [], []
        self.script = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] != "style":
            self.text.append(data)
            if self.open[-1] == "h2":
                self.headings.append(data)


def tree(name):
    parser = Tree()
    parser.feed(PAGES[name])
    parser.close()
    assert parser.open == []
    return parser


@every
def test_the_page_is_well_formed_and_asks_for_nothing(name):
    found = tree(name)
    assert found.tags.count("script") == 1
    assert ("type", "application/json") in found.attributes
    assert not {"img", "iframe", "object", "base", "form", "a", "image", "use"} & set(found.tags)
    outside = [(key, value) for key, value in found.attributes if key in {"src", "href", "srcset", "action"}]
    assert outside == [("href", "data:,")]
    assert not [key for key, _ in found.attributes if key.startswith("on")]
    assert "url(" not in PAGES[name]
    assert "@import" not in PAGES[name]


@every
def test_ids_are_unique(name):
    ids = [value for key, value in tree(name).attributes if key == "id"]
    assert len(ids) == len(set(ids))


@every
def test_drawings_are_xml_with_finite_numbers_a_title_and_a_description(name):
    for text in SVG.findall(PAGES[name]):
        root = ET.fromstring(text)
        values = [value for each in root.iter() for key, value in each.attrib.items() if key not in {"id", "class"}]
        assert not [value for value in values if re.search(r"\b(nan|inf)", value, re.IGNORECASE)]
        if root.get("role") == "img":
            title, about = (root.find(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("title", "desc"))
            assert title.text
            assert about.text
            assert root.get("aria-labelledby") == f"{title.get('id')} {about.get('id')}"


@every
def test_what_is_drawn_lies_in_the_drawing(name):
    for text in SVG.findall(PAGES[name]):
        root = ET.fromstring(text)
        _, _, width, height = map(float, root.get("viewBox").split())
        for each in root.iter():
            for key in ("x", "cx", "x1"):
                assert 0 <= float(each.get(key, 0)) <= width
            for key in ("y", "cy", "y1"):
                assert 0 <= float(each.get(key, 0)) <= height


def as_json(result):
    return json.loads(json.dumps(result.to_json()))


@every
def test_the_page_carries_its_data(name, tmp_path):
    document = json.loads(tree(name).script)
    assert len(document["rows"]) == len(MADE[name].rows)
    assert "</" not in tree(name).script
    if name != "nasty":  # whose samples are not all numbers, and whose text is no text
        (tmp_path / "result.json").write_text(tree(name).script)
        assert as_json(Result.read(tmp_path / "result.json")) == as_json(MADE[name])


@every
def test_every_row_is_in_the_page(name):
    said = tree(name).text
    for row in MADE[name].rows:
        if name != "nasty":
            assert row.backend in said
            assert row.failed is None or row.failed in said
            assert all(significant(row.latencies[name]) in said for name in ("p50", "p95", "p99") if row.samples_ms)


@every
def test_no_plot_table_or_section_is_empty(name):
    kinds = "section|div|ul|li|p|dl|dd|dt|tbody|table|td|th|figure|figcaption|h2|h3|text|title|desc"
    assert not re.findall(rf"<({kinds})\b[^>]*></\1>", PAGES[name])
    assert not re.findall(r"<section><h2>[^<]*</h2></section>", PAGES[name])


def plots(name):
    return [heading for heading in tree(name).headings if heading not in OTHERS]


OTHERS = {"Caution", "In short", "Machine", "Figures", "Not measured", "How it was measured", "How to read it"}
DISTRIBUTION, LIMIT = "Latency, every call", "Roofline efficiency"
SHAPE, THROUGHPUT = "Latency by shape", "Throughput against latency"
SPEEDUP = "Speedup over each baseline"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("minilm", [DISTRIBUTION, SPEEDUP, SHAPE, THROUGHPUT, LIMIT]),
        ("open_loop", [DISTRIBUTION, SPEEDUP, LIMIT, "Latency under load"]),
        ("tiny", [DISTRIBUTION]),
        ("all_failed", []),
        ("words", [DISTRIBUTION, SPEEDUP, "Latency by case"]),
    ],
)
def test_plots_with_nothing_to_show_are_left_out(name, shown):
    assert plots(name) == shown


def test_a_verdict_says_how_many_times_as_fast_and_that_nothing_is_claimed_within_the_quartiles():
    said = re.sub(r"<[^>]+>", "", PAGES["minilm"])
    ours, found = next(
        (ours, found)
        for other, ours, found in MADE["minilm"].ratios()
        if (other.backend, ours.backend) == ("PyTorch fp32", "cpu-int8")
    )
    sentence = f"cpu-int8 ({duration(ours.latencies['p50'])}) is {significant(found['median'])}x as fast as"
    assert f"{sentence} PyTorch fp32 [{significant(found['q1'])}-{significant(found['q3'])}]" in said
    same = replace(MADE["tiny"], backends=(*MADE["tiny"].backends, results.BASELINES[0]))
    same = replace(same, rows=(*same.rows, replace(same.rows[0], backend="PyTorch fp32")))
    assert "is on a par with PyTorch fp32, 1.00x" in re.sub(r"<[^>]+>", "", html_report(same))


def compared(ours, baseline, *, count=8):
    """Return the page of one backend of ours and a baseline, with calls that take as long as is given."""
    found = MADE["tiny"]
    rows = [
        replace(found.rows[0], backend=name, samples_ms=(ms,) * count) for name, ms in (("a", ours), ("b", baseline))
    ]
    backends = (replace(found.backends[0], name="a"), replace(found.backends[0], name="b", is_own=False))
    return html_report(replace(found, backends=backends, rows=tuple(rows)))


def test_what_is_slower_is_said_as_slower():
    assert '<b class="slower">2.00x slower</b> than b <span class="quartiles">[2.00-2.00]</span>' in compared(4.0, 2.0)
    assert '<b class="ratio">2.00x</b> as fast as b' in compared(2.0, 4.0)
    assert '<td class="slower">0.500x' in compared(4.0, 2.0)
    assert '<td class="slower">' not in compared(2.0, 4.0)


@pytest.mark.parametrize(("count", "is_bold"), [(7, False), (8, True)])
def test_few_calls_give_no_bold_figure_no_box_and_a_caution(count, is_bold):
    page = compared(2.0, 4.0, count=count)
    assert ('<b class="ratio">' in page) == is_bold
    assert ("<td><b>" in page) == is_bold
    assert ('class="box"' in page) == is_bold
    assert ('class="median"' in page) == is_bold
    assert ("A backend has only 7 calls in a case" in page) != is_bold


def test_the_median_that_is_drawn_is_the_one_that_is_said():
    """Eight calls, whose interpolated median would be 50 and whose nearest rank is 1."""
    found = MADE["tiny"]
    samples = (1.0, 1.0, 1.0, 1.0, 99.0, 99.0, 99.0, 99.0)
    page = html_report(replace(found, rows=(replace(found.rows[0], samples_ms=samples),)))
    (median,) = re.findall(r'd="M([\d.]+) [\d.]+L[\d.]+ [\d.]+" class="median"', page)
    left = min(float(x) for x in re.findall(r"M([\d.]+) [\d.]+h0", page))
    assert "p50 1.00" in page
    assert abs(float(median) - left) < 2


def test_cautions_come_first_then_verdicts_and_plots_and_tables_at_the_end():
    busy = replace(MADE["minilm"], environment={**results.MACHINE, "before": {"load": 1.5}})
    page = html_report(busy)
    heads = re.findall("<h2>([^<]*)</h2>", page)
    assert heads[:4] == ["Caution", "In short", "Not measured", DISTRIBUTION]
    assert heads[-4:] == ["Figures", "Machine", "How it was measured", "How to read it"]
    assert "The machine was busy before the measurement (load 1.5 on 2 cores)" in page


@pytest.mark.parametrize(("count", "is_tall"), [(99, False), (100, True)])
def test_a_table_scrolls_down_only_from_a_hundred_rows_and_says_so(count, is_tall):
    found = results.RESULT
    loads = tuple(replace(found.loads[0], rate=1.0 + index) for index in range(count))
    page = html_report(replace(found, loads=loads))
    assert ("scroll tall" in page) == is_tall
    assert f"Poisson arrivals, {count} rows{', scroll for all' * is_tall}:" in page


def test_the_best_figure_of_a_case_is_bold_and_heads_have_units():
    page = PAGES["open_loop"]
    best = min(row.latencies["p50"] for row in MADE["open_loop"].rows)
    assert f"<td><b>{significant(best)}</b></td>" in page
    for head in ("p50, ms", "throughput, rows/s", "peak RSS, MB", "load, ms"):
        assert f'<th scope="col">{head}</th>' in page


def test_under_load_a_case_has_p50_and_p99_next_to_each_other():
    captions = re.findall("<figcaption>(p[59].*?)</figcaption>", PAGES["open_loop"])
    assert captions == ["p50, batch 1 x sequence 128", "p99, batch 1 x sequence 128"]
    assert '<div class="panels pairs"><figure class="panel"><figcaption>p50' in PAGES["open_loop"]


def test_the_page_says_when_where_and_from_what():
    machine = {**results.MACHINE, "measured": "2026-03-01 12:00 UTC", "host": "virtual machine"}
    model = {**results.MODEL, "source": "model", "revision": None}
    page = html_report(replace(MADE["tiny"], model=model, environment=machine))
    for fact in ("measured 2026-03-01 12:00 UTC", "virtual machine", "2 cores", "checkpoint model (a local folder)"):
        assert f"<li>{fact}</li>" in page
    assert "checkpoint org/name at 0123456789ab" in html_report(
        replace(MADE["tiny"], model={"source": "org/name", "revision": "0123456789abcdef"})
    )


def luminance(colour):
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PLOTTED = tuple(f"c{index}" for index in range(6))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", [*PLOTTED, "slower", "accent", "soft"])
def test_colours_stand_out_from_the_page(name, theme):
    lights = [luminance(re.findall(f"--{each}: (#[0-9a-f]{{6}})", STYLE)[theme]) for each in (name, "raised")]
    assert (max(lights) + 0.05) / (min(lights) + 0.05) >= (3.5 if name in PLOTTED else 4.5)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tiny", "No baseline was measured"),
        ("all_failed", "Nothing was measured: every row failed"),
        ("interrupted", "Interrupted at batch 4 x sequence 128"),
        ("many", "24 more panels are left out here"),
    ],
)
def test_what_is_missing_is_said(name, sentence):
    assert any(sentence in text for text in tree(name).text)


def test_a_result_without_anything_is_a_page():
    page = html_report(Result({}, {}, {}, (), (), ()))
    assert "Nothing was measured." in page
    assert "<svg" not in page
    assert table_parts(Result({}, {}, {}, (), (), ())) == ["nothing was measured"]


def test_names_are_shown_as_they_are_and_do_nothing():
    found = tree("nasty")
    assert any("</script><script>alert" in text for text in found.text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e\ud800-\udfff]", PAGES["nasty"])
    PAGES["nasty"].encode("utf-8")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),  # noqa: RUF001
        (math.nan, "–"),  # noqa: RUF001
        (0, "0"),
        (0.00051234, "0.000512"),
        (9.996, "10.0"),
        (87.66, "87.7"),
        (999.6, "1000"),
        (17353, "17400"),
        (-3.14159, "-3.14"),
    ],
)
def test_figures_have_three_digits(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0512, "51.2 µs"), (4.2111, "4.21 ms"), (1238, "1240 ms"), (17353, "17.4 s")]
)
def test_times_have_the_unit_that_suits_them(value, text):
    assert duration(value) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    "values", [[1, 1], [0, 0], [0.001, 1000], [3.1, 3.4], [99.99, 100.01], [1, 6], [5e-7, 2e6], [0, 1e9]]
)
def test_a_scale_has_its_values_and_a_few_ticks(values):
    scale = scale_of(values, 10, 110)
    assert all(10 <= scale(value) <= 110 for value in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(scale.low * (1 - 1e-6) <= tick <= scale.high * (1 + 1e-6) for tick in ticks)


def test_a_label_is_cut_to_its_room():
    assert fitted("short", 100, 12) == "short"
    cut = fitted("a name that is much too long for its room", 100, 12)
    assert cut.endswith("…")
    assert width_of(cut, 12) <= 100


def test_a_coordinate_that_is_no_number_is_refused():
    with pytest.raises(AssertionError, match="finite"):
        element("circle", cx=math.nan)
