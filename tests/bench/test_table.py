import pytest
from rich.cells import cell_len

from tests.bench import results
from vitrify.bench.table import WIDTH, figures_table, table_parts
from vitrify.bench.units import significant
from vitrify.cli.output import text_lines


def table_lines(result, width=None):
    return list(text_lines(table_parts(result), width=width))


@pytest.mark.parametrize("make", results.ALL)
def test_lines_are_plain_and_end_with_what_failed(make):
    lines = table_lines(make())
    assert all(line == line.rstrip() for line in lines)
    assert all(char.isprintable() for line in lines for char in line)
    if make not in (results.many, results.nasty):  # whose names are longer than a line
        assert max(len(line) for line in lines if not line.startswith("  ")) <= WIDTH
    failed = [row for row in make().rows if row.failed]
    assert ("not measured:" in lines) == bool(failed or any(load.failed for load in make().loads))


def test_columns_are_aligned_and_ratios_stand_beside_ours_where_there_is_room():
    lines = table_lines(results.interrupted())
    assert lines[0].startswith("interrupted at batch 4 x sequence 128")
    head, rule, first, _, peer = lines[2:7]
    assert head.endswith("PyTorch fp32")
    assert len(head) == len(rule) == len(first)
    row = results.interrupted().rows[0]
    _, _, found = next(results.interrupted().ratios())
    assert first.split()[:6] == ["batch", "1", "x", "sequence", "128", row.backend]
    assert significant(row.latencies["p50"]) in first
    assert f"{significant(found['median'])}x [{significant(found['q1'])}-{significant(found['q3'])}]" in first
    assert "x [" not in peer


def test_ratios_stand_below_where_there_is_no_room():
    lines = table_lines(results.minilm())
    heads = [line for line in lines if line.startswith("case")]
    assert len(heads) == 2
    assert "onnxruntime fp32" in heads[1]
    assert any(line.startswith("batch 16 x sequence 512, cpu-w4: a peer") for line in table_lines(results.many()))


def test_arrivals_have_lines():
    lines = table_lines(results.open_loop())
    assert any("requests/s" in line for line in lines)
    assert sum(line.startswith(" " * 24 + "cpu-int8 ") for line in lines) == 9  # a row, its ratios, seven rates


TWEET = "a [bold]tweet[/bold] :smile:"
WIDE = [
    ["case", "backend", "ms"],
    ["短い質問", "cpu-fp32", "1.25"],
    [TWEET, "cpu-int8", "0.5"],
]


def test_wide_characters_take_two_columns_and_names_are_no_markup():
    head, rule, first, second = text_lines([figures_table(WIDE, names=2)])
    assert (head[-2:], rule.strip("-")) == ("ms", "")
    assert cell_len(first) == cell_len(second) == len(rule)
    assert second.startswith(f"{TWEET}  cpu-int8")


@pytest.mark.parametrize("width", [10, 40])
def test_a_narrow_terminal_folds_names_and_keeps_figures(width):
    lines = list(text_lines([figures_table(WIDE, names=2)], width=width))
    assert len(lines) > 4
    assert any(line.endswith("1.25") for line in lines)
    assert "".join("".join(lines).split()).count("tweet") == 1


def test_without_a_terminal_nothing_is_wrapped():
    long = [["case", "ms"], ["x" * 500, "1"]]
    assert len(list(text_lines([figures_table(long, names=1)]))) == 3
