"""The walkthrough of `docs/architecture.md`, applied to a copy of the project: a new family is a file and rows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import TOKENIZERS, Spread, spread_weights
from tests.tokenizers_tiny import tiny_tokenizer

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BLOCK = re.compile(r"```python\n# (\S+\.py)(?:, in (\w+))?\n(.*?)```", re.DOTALL)
COPIED = ("__init__.py", "version.py", "profiles", "runtime", "export", "cli")


def steps():
    """Return the files that the walkthrough names: each with the table that a row goes into, None for a new file."""
    section = PAGE.read_text(encoding="utf-8").split("## Add a family")[1].split("\n## ")[0]
    return BLOCK.findall(section)


def apply_steps(root):
    for file, table, text in steps():
        path = root / file
        if not table:
            assert not path.exists(), f"{file} is there already"
            path.write_text(text, encoding="utf-8")
            continue
        source = path.read_text(encoding="utf-8")
        (start,) = re.finditer(rf"^{table}\b[^\n]*= (?:MappingProxyType\(\n    )?[({{]\n", source, re.MULTILINE)
        path.write_text(source[: start.end()] + text + source[start.end() :], encoding="utf-8")


def test_one_new_file_and_one_row_a_table():
    new = [file for file, table, _ in steps() if not table]
    rows = [(file, table) for file, table, _ in steps() if table]
    assert new == ["export/families/dual_encoder.py"]
    assert len(rows) == len(set(rows)) == 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Return a tiny CLIP with a tokenizer and an image processor, and the model itself."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = tiny_tokenizer(TOKENIZERS["bert"], model_max_length=40)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.sep_token_id, "max_position_embeddings": 40}
    config = transformers.CLIPConfig(
        text_config={**sizes, **words}, vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=24
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval()
    spread_weights(model, Spread())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    return folder, model


def run(root, program):
    """Run a program that imports the copy of the project in `root`."""
    program = f"import sys; sys.path.insert(0, '.')\n{program}"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_tiny_clip_is_exported_verified_and_run(clip, tmp_path):
    checkpoint, model = clip
    package = tmp_path / "vitrify"
    package.mkdir()
    for name in COPIED:
        source = ROOT / name
        shutil.copytree(source, package / name) if source.is_dir() else shutil.copy(source, package)
    apply_steps(package)
    bundle = tmp_path / "bundle"
    for words in (["export", str(checkpoint), "-o", str(bundle)], ["verify", str(bundle)]):
        run(tmp_path, f"sys.argv = {['vitrify', *words]}\nfrom vitrify.cli import main\nmain()")
    random = np.random.default_rng(0)
    ids = random.integers(5, 20, (3, 9))
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    pixels = random.standard_normal((2, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "given.npz", **given, pixel_values=pixels)
    run(
        tmp_path,
        "import numpy as np\nfrom vitrify import load_bundle\n"
        f"given, loaded = np.load('given.npz'), load_bundle({str(bundle)!r})\n"
        "text = loaded.graph('text_model')(input_ids=given['input_ids'], attention_mask=given['attention_mask'])\n"
        "image = loaded.graph('vision_model')(pixel_values=given['pixel_values'])\n"
        "np.savez('made.npz', text=text.text_embeds, image=image.image_embeds)\n",
    )
    made = np.load(tmp_path / "made.npz")
    with torch.inference_mode():
        text = model.get_text_features(**{name: torch.from_numpy(value) for name, value in given.items()})
        image = model.get_image_features(pixel_values=torch.from_numpy(pixels))
    assert np.abs(made["text"] - text.pooler_output.numpy()).max() < 1e-4
    assert np.abs(made["image"] - image.pooler_output.numpy()).max() < 1e-4
