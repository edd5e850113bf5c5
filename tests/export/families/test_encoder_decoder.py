"""An encoder-decoder's graphs: others' way to run them beside ours, what aligns words, and what the gate sees."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle, load_bundle, pipeline
from vitrify.export.tracing import traceable as tracing
from vitrify.profiles import load_profile
from vitrify.runtime.generation.decoders.from_graphs import open_decoding
from vitrify.runtime.graphs.families import FAMILIES
from vitrify.runtime.sessions.model import Outputs
from vitrify.runtime.verification.parity import compare, read_cases
from vitrify.runtime.verification.replay import TeacherForced

FP32 = load_profile("cpu-fp32")
CLOSE = {"rtol": 0, "atol": 1e-4}
PAST, PRESENT = "past_key_values.", "present."
OURS = ("encoder_model", "cross_attention", "decoder_step")
OTHERS = ("encoder_model", "decoder_model_merged")


def _exported(folder, model_type, head):
    torch.set_num_threads(1)
    checkpoint = make_checkpoint(model_type, head, folder / "checkpoint")
    export_bundle(checkpoint, folder / "bundle")
    cases = read_cases(next((folder / "bundle" / "parity").iterdir()))
    graphs = load_bundle(folder / "bundle").graphs()
    return SimpleNamespace(checkpoint=checkpoint, folder=folder / "bundle", graphs=graphs, cases=cases)


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    return _exported(tmp_path_factory.mktemp("bart"), "bart", "seq2seq-lm")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return _exported(tmp_path_factory.mktemp("whisper"), "whisper", "speech-seq2seq")


# ---------------------------------------------------------------------------------------------------- as others run it


@pytest.mark.parametrize("dummy", [0, 1])
def test_the_merged_graph_as_other_loaders_use_it(bart, dummy):
    """The first call makes the keys and values of cross attention, whatever the past holds; later ones read them."""
    case = bart.cases[1]
    ids, mask = case.inputs["input_ids"], case.inputs["attention_mask"]
    answers, merged = case.inputs["decoder_input_ids"], bart.graphs["decoder_model_merged"]
    parts = np.split(answers, [2, 3, 5], axis=1)
    states = bart.graphs["encoder_model"](input_ids=ids, attention_mask=mask)["last_hidden_state"]
    past = _past(merged, rows=len(ids), length=dummy)
    read = {"encoder_attention_mask": mask, "encoder_hidden_states": states, "num_logits_to_keep": np.array(0)}
    found = []
    for step, tokens in enumerate(parts):
        made = _run(merged, input_ids=tokens, use_cache_branch=np.array([step > 0]), **read, **past)
        found.append(made["logits"])
        past = {name: made[name.replace(PAST, PRESENT)] for name in past}
        sizes = {value.shape[2] for name, value in past.items() if ".encoder." not in name}
        assert sizes == {sum(part.shape[1] for part in parts[: step + 1])}
    expected = TeacherForced(_opener(bart.graphs, OURS))(**case.inputs)["logits"]
    logits = np.concatenate(found, axis=1)[:, int(case.inputs["chunks"][0]) - 1 :]
    np.testing.assert_allclose(logits.reshape(expected.shape), expected, **CLOSE)


def test_only_the_first_call_ignores_what_the_past_holds(bart):
    merged, rows = bart.graphs["decoder_model_merged"], 2
    feeds = {
        "input_ids": np.array([[25, 36, 47]] * rows),
        "encoder_hidden_states": np.random.default_rng(0).standard_normal((rows, 6, 32)).astype(np.float32),
        "encoder_attention_mask": np.ones((rows, 6), np.int64),
        "use_cache_branch": np.array([False]),
    }
    empty, noise = _past(merged, rows=rows, length=0), _past(merged, rows=rows, length=6)
    random = np.random.default_rng(1)
    noise = {name: random.standard_normal(value.shape).astype(np.float32) for name, value in noise.items()}
    first = _run(merged, **feeds, **empty)["logits"]
    np.testing.assert_array_equal(_run(merged, **feeds, **noise)["logits"], first)
    later = _run(merged, **{**feeds, "use_cache_branch": np.array([True])}, **noise)["logits"]
    assert np.abs(later - first).max() > 0.01


def _run(model, **feeds):
    """Run a graph as those who know no names of axes: a dummy past is shorter than the encoder's states."""
    return model.session.run(feeds, checked=False)


def _past(model, *, rows, length):
    sizes = {"batch": rows, "past": length, "encoder_sequence": length}
    return {
        tensor.name: np.zeros([sizes.get(axis, axis) for axis in tensor.axes], np.float32)
        for tensor in model.session.inputs
        if tensor.name.startswith(PAST)
    }


@pytest.mark.parametrize("names", [OURS, OTHERS])
@pytest.mark.parametrize("chosen", [[1], [2, 0], [0, 1, 2], [2, 2, 1, 0]], ids=str)
def test_rows_of_what_the_encoder_gave_are_selected_before_the_first_tokens(bart, names, chosen):
    ids = np.random.default_rng(4).integers(10, 200, (3, 7))
    mask = (np.arange(7) < np.array([[7], [4], [6]])).astype(np.int64)
    starts, step = ids[:, :2], ids[:, 2:3]
    opened = _opener(bart.graphs, names)
    whole, decoding = (
        opened({"input_ids": ids, "attention_mask": mask}),
        opened({"input_ids": ids, "attention_mask": mask}),
    )
    decoding.truncate(1)
    other = decoding.clone()
    other.select(np.array(chosen))
    for tokens in (starts, step):
        expected = whole.append(tokens).copy()
        assert np.abs(expected[0] - expected[1]).max() > 0.01
        np.testing.assert_allclose(other.append(tokens[chosen]), expected[chosen], **CLOSE)
    np.testing.assert_allclose(
        decoding.append(starts), opened({"input_ids": ids, "attention_mask": mask}).append(starts), **CLOSE
    )


# ------------------------------------------------------------------------------------------------------ the gate fails


class Tampered:
    """A graph whose answers are changed on their way to the next."""

    def __init__(self, model, change):
        self.model, self.change, self.input_names = model, change, model.input_names

    def __call__(self, **inputs):
        return Outputs(self.change(dict(self.model(**inputs))))


def swapped_values(made):
    """The keys of the first layer are read as its values."""
    return {**made, "present.0.encoder.value": made["present.0.encoder.key"]}


def swapped_layers(made):
    first, second = "present.0.encoder.key", "present.1.encoder.key"
    return {**made, first: made[second], second: made[first]}


def swapped_rows(made):
    return {name: value[::-1] for name, value in made.items()}


@pytest.mark.parametrize(
    ("graph", "change", "passes"),
    [
        ("cross_attention", dict, True),
        ("cross_attention", swapped_values, False),
        ("cross_attention", swapped_layers, False),
        ("cross_attention", swapped_rows, False),
        ("encoder_model", swapped_rows, False),
    ],
)
def test_the_gate_sees_what_is_swapped(bart, graph, change, passes):
    graphs = {**bart.graphs, graph: Tampered(bart.graphs[graph], change)}
    found = compare(TeacherForced(_opener(graphs, OURS)), bart.cases, FP32.tolerance)
    assert all(figure.passed for figure in found) == passes
    assert all(np.isfinite(figure.difference) for figure in found), "it must answer wrongly, not fail to run"


@pytest.mark.parametrize("names", [OURS, OTHERS])
def test_the_gate_sees_a_lost_mask_of_the_encoder(bart, names):
    def unmasked(inputs):
        decoding = open_decoding(FAMILIES["encoder-decoder"], {name: bart.graphs[name] for name in names}, inputs)
        constants = decoding._constants
        constants["encoder_attention_mask"] = np.ones_like(constants["encoder_attention_mask"])
        return decoding

    found = compare(TeacherForced(unmasked), bart.cases, FP32.tolerance)
    assert any(not figure.passed for figure in found)
    assert all(np.isfinite(figure.difference) for figure in found)


@pytest.mark.slow
def test_an_axis_that_the_tracer_froze_does_not_pass(tmp_path, monkeypatch):
    """Moonshine counts its states with `int(...)` of a quotient: without the row for it that count is a constant."""
    from vitrify.runtime.errors import VitrifyError

    monkeypatch.setattr(tracing, "_ROWS", {})
    with pytest.raises(VitrifyError):
        _exported(tmp_path, "moonshine", "speech-seq2seq")
    assert not (tmp_path / "bundle").exists()


# ----------------------------------------------------------------------------------------------------------- alignment


@pytest.mark.parametrize("tokens", [1, 9])
def test_alignment_is_what_the_heads_attend_to(whisper, tokens):
    model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(whisper.checkpoint, attn_implementation="eager")
    random = np.random.default_rng(tokens)
    features = random.standard_normal((2, 16, 100)).astype(np.float32)
    ids = random.integers(5, 400, (2, tokens))
    with torch.inference_mode():
        made = model.eval()(
            input_features=torch.from_numpy(features), decoder_input_ids=torch.from_numpy(ids), output_attentions=True
        )
    heads = model.generation_config.alignment_heads
    expected = torch.stack([made.cross_attentions[layer][:, head] for layer, head in heads], dim=1).numpy()
    states = whisper.graphs["encoder_model"](input_features=features)[0]
    cross, aligner = whisper.graphs["cross_attention"](encoder_hidden_states=states), whisper.graphs["alignment"]
    read = {name: cross[name.replace(PAST, PRESENT)] for name in aligner.input_names if name.startswith(PAST)}
    np.testing.assert_allclose(aligner(input_ids=ids, **read)["cross_attentions"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("given", [{}, {"return_timestamps": True}, {"return_timestamps": "word"}])
def test_a_recording_is_heard_as_by_transformers(whisper, given):
    """The bundle's feature extractor chooses Whisper's pipeline; times of words come from the graph of alignment."""
    ours = pipeline("automatic-speech-recognition", whisper.folder)
    theirs = transformers.pipeline("automatic-speech-recognition", model=str(whisper.checkpoint), device="cpu")
    sound = np.random.default_rng(3).normal(size=15_000).astype(np.float32) * 0.2
    given = {**given, "generate_kwargs": {"language": "en", "max_new_tokens": 20}}
    expected = theirs(sound.copy(), **given)
    assert ours(sound, **given) == expected
    assert expected["text"]


def test_alignment_comes_with_alignment_heads_alone(bart, whisper):
    assert "alignment" in whisper.graphs
    assert "alignment" not in bart.graphs


def _opener(graphs, names):
    own = {name: graphs[name] for name in names}
    return lambda inputs: open_decoding(FAMILIES["encoder-decoder"], own, inputs)
