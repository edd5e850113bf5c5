"""A decoder's graphs and its two decodings: each the same as a fresh run, and a broken one never passes the gate."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import POSITIONS, make_checkpoint
from tests.fakes import altered
from tests.runtime.sessions.onnxruntime.resident_sessions import as_model, cuda_session, engine_bench
from vitrify import export_bundle, load_bundle
from vitrify.profiles import load_profile
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.decoders import in_place
from vitrify.runtime.generation.decoders.growing import GrowingDecoding
from vitrify.runtime.generation.decoders.in_place import InPlaceDecoding
from vitrify.runtime.generation.loop import generate
from vitrify.runtime.verification.parity import compare, read_cases
from vitrify.runtime.verification.replay import TeacherForced

FP32 = load_profile("cpu-fp32")
# The last two are the first graph on GPUs, where the cache stays.
DECODINGS = {"model": GrowingDecoding, "in_place": InPlaceDecoding, "cuda": GrowingDecoding, "engine": GrowingDecoding}
PAST = "past_key_values."
CLOSE = {"rtol": 0, "atol": 1e-4}
each_way = pytest.mark.parametrize("way", DECODINGS)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a tiny Llama whose head is its embedding."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("decoder")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        make_checkpoint("llama", "causal-lm", folder / "checkpoint"), dtype="float32"
    )
    with torch.no_grad():  # or a token would be followed by itself, whatever the cache says
        model.model.embed_tokens.weight.mul_(0.2)
    model.config.tie_word_embeddings = True
    model.lm_head.weight = model.model.embed_tokens.weight
    model.save_pretrained(folder / "checkpoint")
    export_bundle(folder / "checkpoint", folder / "bundle")
    bundle = load_bundle(folder / "bundle")
    graphs = bundle.graphs()
    path, axes = bundle.graph_file("model"), graphs["model"].axes
    engine = engine_bench(path, folder, limit=POSITIONS).open()
    graphs |= {"cuda": as_model(cuda_session(path), axes), "engine": as_model(engine, axes)}
    cases = read_cases(next((folder / "bundle" / "parity").iterdir()))
    return SimpleNamespace(model=model, folder=folder / "bundle", graphs=graphs, cases=cases)


@pytest.fixture
def opened(exported):
    """Return a function that opens a decoding of either kind."""
    return lambda way: DECODINGS[way](exported.graphs[way])


def drawn(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    return [np.random.default_rng([seed, i]).integers(10, 600, length) for i, length in enumerate(lengths)]


def joined(rows, more) -> list[np.ndarray]:
    return [np.concatenate([row, new]) for row, new in zip(rows, more, strict=True)]


def reference(model, rows) -> np.ndarray:
    """Return PyTorch's logits after each row, run by itself and without a cache."""
    with torch.inference_mode():
        return np.stack([model(torch.from_numpy(row)[None], use_cache=False).logits[0, -1].numpy() for row in rows])


# ------------------------------------------------------------------------------------------------------ the gate fails


def nothing(feeds):
    return feeds


def lost_mask(feeds):
    return {**feeds, "attention_mask": np.ones_like(feeds["attention_mask"])}


def shifted_position(feeds):
    """Every token after the prompt stands one further on."""
    past = next(value for name, value in feeds.items() if name.startswith(PAST)).shape[2]
    return {**feeds, "position_ids": feeds["position_ids"] + (past > 0)}


def shifted_cache(feeds):
    """The newest token of the past is forgotten, the oldest is there twice."""
    caches = {name: value for name, value in feeds.items() if name.startswith(PAST) and value.shape[2]}
    shifted = {name: np.concatenate([value[:, :, :1], value[:, :, :-1]], axis=2) for name, value in caches.items()}
    return {**feeds, **shifted}


def short_cache(feeds):
    """The kernel is told of one token less than there are."""
    return {**feeds, "seqlens_k": np.maximum(feeds["seqlens_k"] - 1, feeds["input_ids"].shape[1] - 1)}


def figures(exported, way, tamper):
    model = SimpleNamespace(session=altered(exported.graphs[way].session, tamper), axes=exported.graphs[way].axes)
    return compare(TeacherForced(lambda _: DECODINGS[way](model)), exported.cases, FP32.tolerance)


@each_way
def test_what_is_fed_as_it_should_be_passes(exported, way):
    assert all(figure.passed for figure in figures(exported, way, nothing))


@pytest.mark.parametrize(
    ("way", "tamper"),
    [
        ("model", lost_mask),
        ("model", shifted_position),
        ("model", shifted_cache),
        ("in_place", shifted_cache),
        ("in_place", short_cache),
    ],
)
def test_the_gate_sees_a_broken_cache(exported, way, tamper):
    found = figures(exported, way, tamper)
    assert any(not figure.passed for figure in found)
    assert all(np.isfinite(figure.difference) for figure in found), "it must answer wrongly, not fail to run"


class Unordered(GrowingDecoding):
    def select(self, rows):
        if len(rows) != len(self.lengths):
            super().select(rows)


class UnorderedInPlace(InPlaceDecoding):
    def select(self, rows):
        if len(rows) != len(self.lengths):
            super().select(rows)


@pytest.mark.parametrize(
    ("way", "cls", "same"),
    [
        ("model", GrowingDecoding, True),
        ("in_place", InPlaceDecoding, True),
        ("cuda", GrowingDecoding, True),
        ("engine", GrowingDecoding, True),
        ("model", Unordered, False),
        ("in_place", UnorderedInPlace, False),
    ],
)
def test_beams_that_are_not_reordered_give_other_answers(exported, way, cls, same):
    prompts = drawn(6, 6)
    settings = {"num_beams": 4, "max_new_tokens": 12, "pad_token_id": 0}
    with torch.inference_mode():
        expected = exported.model.generate(torch.from_numpy(np.stack(prompts)), do_sample=False, **settings)
    eos = exported.model.generation_config.eos_token_id
    config = GenerationConfig.from_mapping({**settings, "eos_token_id": eos})
    made = generate(cls(exported.graphs[way]), prompts, config).sequences
    padded = [np.pad(row, (0, expected.shape[1] - len(row))).tolist() for row in made]
    assert (padded == expected.tolist()) == same


# ------------------------------------------------------------------------------------------------------ the graph alone


@pytest.mark.parametrize(("count", "kept"), [(None, 1), (0, 7), (1, 1), (3, 3)])
def test_the_head_works_on_the_last_tokens(exported, count, kept):
    session, ids = exported.graphs["model"].session, np.stack(drawn(7, 7))
    caches = [tensor for tensor in session.inputs if tensor.name.startswith(PAST)]
    feeds = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.tile(np.arange(7), (2, 1)),
        # A past of no token.
        **{tensor.name: np.zeros((2, tensor.axes[1], 0, tensor.axes[3]), np.float32) for tensor in caches},
    }
    if count is not None:
        feeds["num_logits_to_keep"] = np.array(count)
    with torch.inference_mode():
        expected = exported.model(torch.from_numpy(ids)).logits[:, -kept:].numpy()
    np.testing.assert_allclose(session.run(feeds)["logits"], expected, **CLOSE)


def test_weights_are_stored_once(exported):
    parameters = sum(parameter.nbytes for parameter in exported.model.parameters())
    data = sum(path.stat().st_size for path in (exported.folder / "onnx").glob("*_data"))
    assert parameters * 0.9 < data < parameters * 1.1
    assert all(path.stat().st_size < parameters for path in (exported.folder / "onnx").glob("*.onnx"))
    assert sorted(path.name for path in (exported.folder / "onnx").glob("*_data")) == ["model.onnx_data"]


# ------------------------------------------------------------------------------------------------------ both decodings


@each_way
def test_ragged_prompts_steps_and_several_tokens_are_a_fresh_run(exported, opened, way):
    decoding, rows = opened(way), drawn(9, 2, 5)
    np.testing.assert_allclose(decoding.append(rows)[:, -1], reference(exported.model, rows), **CLOSE)
    for seed, count in enumerate((1, 3, 1, 2), 1):
        more = drawn(count, count, count, seed=seed)
        before, rows = rows, joined(rows, more)
        logits = decoding.append(np.stack(more), keep=None).copy()
        assert logits.shape[1] == count
        first = joined(before, [new[:1] for new in more])
        np.testing.assert_allclose(logits[:, 0], reference(exported.model, first), **CLOSE)
        np.testing.assert_allclose(logits[:, -1], reference(exported.model, rows), **CLOSE)
    assert decoding.lengths.tolist() == [16, 9, 12]


@each_way
@pytest.mark.parametrize("chosen", [[2, 0, 0, 1], [1], [0, 1, 2]])
def test_selected_rows_go_on_from_what_they_hold(exported, opened, way, chosen):
    decoding, rows = opened(way), drawn(9, 2, 5)
    decoding.append(rows)
    step = drawn(1, 1, 1, seed=1)
    decoding.append(np.stack(step))
    decoding.select(np.array(chosen))
    kept = [joined(rows, step)[index] for index in chosen]
    more = drawn(*[1] * len(chosen), seed=2)
    logits = decoding.append(np.stack(more))[:, -1]
    np.testing.assert_allclose(logits, reference(exported.model, joined(kept, more)), **CLOSE)


@each_way
@pytest.mark.parametrize("length", [10, 4, 1])
def test_truncated_rows_keep_their_first_tokens(exported, opened, way, length):
    decoding, rows = opened(way), drawn(9, 2, 5)
    decoding.append(rows)
    decoding.append(np.stack(drawn(2, 2, 2, seed=1)), keep=None)
    decoding.truncate(length)
    kept = [row[:length] for row in joined(rows, drawn(2, 2, 2, seed=1))]
    assert decoding.lengths.tolist() == [len(row) for row in kept]
    for count in (1, 2):
        more = drawn(count, count, count, seed=count + 5)
        kept = joined(kept, more)
        logits = decoding.append(np.stack(more))[:, -1]
        np.testing.assert_allclose(logits, reference(exported.model, kept), **CLOSE)


@each_way
def test_an_emptied_decoding_takes_ragged_prompts_again(exported, opened, way):
    decoding, rows = opened(way), drawn(3, 6, seed=4)
    decoding.append(drawn(9, 2))
    decoding.truncate(0)
    np.testing.assert_allclose(decoding.append(rows)[:, -1], reference(exported.model, rows), **CLOSE)


@each_way
def test_before_its_first_tokens_a_decoding_is_selected_truncated_and_cloned(exported, opened, way):
    decoding, rows = opened(way), drawn(9, 2)
    decoding.select(np.array([1, 0, 1]))
    decoding.truncate(4)
    decoding = decoding.clone()
    assert decoding.lengths.tolist() == []
    np.testing.assert_allclose(decoding.append(rows)[:, -1], reference(exported.model, rows), **CLOSE)


@each_way
def test_a_clone_goes_its_own_way(exported, opened, way):
    decoding, rows = opened(way), drawn(4, 6)
    decoding.append(rows)
    decoding.append(np.stack(drawn(1, 1, seed=1)))
    other = decoding.clone()
    held = joined(rows, drawn(1, 1, seed=1))
    for seed in (2, 3):
        ours, theirs = drawn(1, 1, seed=seed), drawn(1, 1, seed=seed + 10)
        mine = decoding.append(np.stack(ours))[:, -1].copy()
        its = other.append(np.stack(theirs))[:, -1].copy()
        held = (joined(held[0] if seed > 2 else held, ours), joined(held[1] if seed > 2 else held, theirs))
        np.testing.assert_allclose(mine, reference(exported.model, held[0]), **CLOSE)
        np.testing.assert_allclose(its, reference(exported.model, held[1]), **CLOSE)


def test_room_grows_by_doubling_and_keeps_what_is_held(exported, opened, monkeypatch):
    monkeypatch.setattr(in_place, "ROOM", 8)
    decoding, rows = opened("in_place"), drawn(5, 3)
    logits, rooms = decoding.append(rows)[:, -1], []
    for seed in range(40):
        more = drawn(1, 1, seed=seed + 1)
        rows = joined(rows, more)
        logits = decoding.append(np.stack(more))[:, -1]
        rooms.append(next(iter(decoding.buffers.values())).shape[2])
        if seed % 5 == 0:
            np.testing.assert_allclose(logits, reference(exported.model, rows), **CLOSE)
    np.testing.assert_allclose(logits, reference(exported.model, rows), **CLOSE)
    assert list(dict.fromkeys(rooms)) == [16, 32, 64]


def test_reserved_room_need_not_grow(opened):
    decoding = opened("in_place")
    decoding.reserve(512)
    decoding.append(drawn(5))
    assert {buffer.shape[2] for buffer in decoding.buffers.values()} == {512}


@each_way
def test_more_tokens_than_the_model_takes_are_refused(opened, way):
    decoding = opened(way)
    assert decoding.capacity == POSITIONS
    with pytest.raises(UsageError, match=f"{POSITIONS + 1} tokens.*{POSITIONS}.*max_new_tokens"):
        decoding.append(drawn(POSITIONS + 1))
    decoding.append(drawn(POSITIONS, 3))
    with pytest.raises(UsageError, match=f"{POSITIONS + 1} tokens"):
        decoding.append(np.stack(drawn(1, 1)))
    assert decoding.lengths.tolist() == [POSITIONS, 3]
