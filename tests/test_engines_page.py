"""docs/engines.md is what the result files say, and what was refused is what `unbuilt.toml` lists."""

import json

from benchmarks.engines_table import PAGE, RESULTS, ROOT, TRUE_SIZES, page
from tests.parity.tested_types import ENGINE_PAIRS, SMS, UNBUILT

ROWS = json.loads((ROOT / RESULTS).read_text())["rows"]


def test_the_page_is_made_from_the_result_files():
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page()


def test_every_type_was_attempted_for_every_compute_capability():
    wanted = {(*pair, sm) for pair in ENGINE_PAIRS for sm in SMS}
    assert {(row["type"], row["head"], row["sm"]) for row in ROWS} == wanted


def test_what_was_refused_is_listed_and_at_least_nine_in_ten_models_are_built():
    whole: dict[tuple[str, str], bool] = {}
    for row in ROWS:
        pair = (row["type"], row["head"])
        whole[pair] = whole.get(pair, True) and row["built"]
    assert {model_type for (model_type, _), built in whole.items() if not built} == set(UNBUILT)
    assert sum(whole.values()) >= 0.9 * len(whole)


def test_attention_of_true_size_is_fused():
    rows = json.loads((ROOT / TRUE_SIZES).read_text())["result"]["rows"]
    assert all(row["built"] for row in rows)
    for row in rows:
        if row["model"] in {"BERT-base", "ViT-base", "SmolLM2-135M"}:
            assert row["fused_attention"] == row["attention"] > 0, row["model"]
