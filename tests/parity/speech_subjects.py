"""Tiny speech models with a CTC head, and a bundle that runs them in torch where a real one would run a graph."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import transformers

from tests.tiny_models import seeded
from vitrify.export.processors.ctc_tokenizer import write_ctc_tokenizer
from vitrify.export.processors.speech import write_speech_processor
from vitrify.runtime.graphs.signature import Axis
from vitrify.runtime.processing.audio.features import SpeechProcessor
from vitrify.runtime.processing.text.tokenizer import Tokenizer

RATE = 16_000
LETTERS = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"
VOCABULARY = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4} | {c: i for i, c in enumerate(LETTERS, start=5)}
SAMPLES_PER_FRAME, SHORTEST = 20, 30
CONFIG = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16, 16, 16],
    "conv_stride": [5, 2, 2],
    "conv_kernel": [10, 3, 2],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "pad_token_id": 0,
    "mask_time_prob": 0.0,
}
BY_LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
TYPES = {
    "wav2vec2": ("Wav2Vec2ForCTC", {}),
    "hubert": ("HubertForCTC", BY_LAYER),
    "wavlm": ("WavLMForCTC", {"num_buckets": 32, "max_bucket_distance": 80}),
}


def ctc_tokenizer(folder, vocabulary=VOCABULARY, **options):
    """Return transformers' tokenizer of a vocabulary, written into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vocab.json"
    path.write_text(json.dumps(vocabulary))
    return transformers.Wav2Vec2CTCTokenizer(str(path), **options)


def ctc_model(model_type):
    """Return a seeded model whose likeliest tokens vary from frame to frame."""
    name, options = TYPES[model_type]
    config = transformers.AutoConfig.for_model(model_type, **CONFIG, **options)
    model = seeded(getattr(transformers, name), config)
    balance(model)
    return model


@torch.no_grad()
def balance(model):
    """Scale the head so that every token is likeliest somewhere, blanks and spaces most often."""
    logits = model(torch.from_numpy(speech(2)[None])).logits[0]
    model.lm_head.weight /= logits.std(0)[:, None]
    model.lm_head.bias -= logits.mean(0)
    model.lm_head.bias /= logits.std(0)
    model.lm_head.bias[[VOCABULARY["<pad>"], VOCABULARY["|"]]] += 0.7


@dataclass
class TorchBundle:
    """A CTC bundle whose graph is a torch model; it remembers the shape of each run."""

    model_in_torch: object
    folder: Path
    takes_mask: bool = False
    name: str = "tiny"
    runs: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self):
        self.profile = SimpleNamespace(name="cpu-fp32")
        self.bundle = SimpleNamespace(head="ctc", axes={"samples": Axis(SHORTEST)})
        self.config = self.model_in_torch.config.to_dict()
        names = ("input_values", "attention_mask") if self.takes_mask else ("input_values",)
        self.model = SimpleNamespace(input_names=names)

    @cached_property
    def tokenizer(self):
        return Tokenizer.from_folder(self.folder)

    @cached_property
    def speech_processor(self):
        return SpeechProcessor.from_folder(self.folder)

    def run_rows(self, rows):
        """Run rows of one length together, as a loaded bundle does."""
        results = {}
        for length in dict.fromkeys(len(row["input_values"]) for row in rows):
            group = [index for index, row in enumerate(rows) if len(row["input_values"]) == length]
            feeds = {name: np.stack([rows[index][name] for index in group]) for name in self.model.input_names}
            self.runs.append(feeds["input_values"].shape)
            with torch.inference_mode():
                logits = self.model_in_torch(**{k: torch.from_numpy(v) for k, v in feeds.items()}).logits.numpy()
            results.update({index: {"logits": row} for index, row in zip(group, logits, strict=True)})
        return [results[index] for index in range(len(rows))]


def make_pair(model_type, folder, *, takes_mask=False, do_normalize=True):
    """Return the bundle and transformers' pipeline of a tiny model."""
    model = ctc_model(model_type)
    tokenizer = ctc_tokenizer(folder / "tokenizer")
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=takes_mask, do_normalize=do_normalize)
    write_ctc_tokenizer(tokenizer, folder)
    write_speech_processor(extractor, folder)
    theirs = transformers.pipeline(
        "automatic-speech-recognition", model=model, tokenizer=tokenizer, feature_extractor=extractor, device="cpu"
    )
    return TorchBundle(model, folder, takes_mask), theirs


def speech(seconds, *, seed=0, rate=RATE):
    """Return sound that changes all the time, float32 [samples]."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * (f * time + 3 * np.sin(time * f / 40))) for f in random.uniform(90, 2500, 6))
    return (0.1 * tones + 0.05 * random.standard_normal(len(time))).astype(np.float32)
