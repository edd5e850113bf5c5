import pytest

from tests.bench import results
from vitrify.bench.table import WIDTH, table_lines
from vitrify.bench.units import significant


@pytest.mark.parametrize("make", results.ALL)
def test_lines_are_plain_and_end_with_what_failed(make):
    lines = table_lines(make())
    assert all(line == line.rstrip() for line in lines)
    assert all(char.isprintable() for line in lines for char in line)
    if make not in (results.many, results.nasty):  # whose names are longer than a line
        assert max(map(len, lines)) <= WIDTH
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
    assert first.split()[:6] == ["batch", "1", "x", "sequence", "128", row.contender]
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
    assert any("arrivals/s" in line for line in lines)
    assert sum(line.startswith(" " * 24 + "cpu-int8 ") for line in lines) == 9  # a row, its ratios, seven rates
