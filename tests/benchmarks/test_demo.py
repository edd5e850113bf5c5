import pytest
from transformers import BertConfig, BertModel, logging

from benchmarks.demo import speedup_line
from benchmarks.saving import save_model


@pytest.mark.parametrize(
    ("quartiles", "line"),
    [
        ((3.5, 4.5), "vitrify is 4.0 times as fast [3.5-4.5]"),
        ((3.7, 15.2), "no ratio: its quartiles [3.7-15.2] are too far apart, other programs are running"),
    ],
)
def test_a_ratio_is_said_only_where_its_quartiles_are_close(quartiles, line):
    assert speedup_line({"q1": quartiles[0], "median": 4.0, "q3": quartiles[1]}) == line


def test_a_model_is_saved_without_a_progress_bar(tmp_path, capfd):
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    logging.enable_progress_bar()
    BertModel(config).save_pretrained(tmp_path / "with")
    assert "Writing model shards" in capfd.readouterr().err
    save_model(BertModel(config), tmp_path / "without")
    assert capfd.readouterr().err == ""
    assert (tmp_path / "without" / "model.safetensors").is_file()
    assert logging.is_progress_bar_enabled()
