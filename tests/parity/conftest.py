"""What the comparisons of text pipelines share: both sides of one, on bundles that are exported once."""

import pytest
import transformers

from tests.checkpoints import make_checkpoint
from tests.parity.text_subjects import HEADS
from vitrify import export_bundle, load_bundle, pipeline


@pytest.fixture(scope="session")
def text_pair(tmp_path_factory):
    """Return a function from a task, a type and arguments to (ours, transformers'); a bundle is exported once."""
    made = {}

    def get(task, model_type, **options):
        key = (model_type, HEADS[task])
        if key not in made:
            folder = tmp_path_factory.mktemp("-".join(key))
            checkpoint = make_checkpoint(*key, folder / "checkpoint")
            export_bundle(checkpoint, folder / "bundle")
            made[key] = checkpoint, load_bundle(folder / "bundle")
        checkpoint, bundle = made[key]
        theirs = transformers.pipeline(task, model=str(checkpoint), device="cpu", **options)
        return pipeline(task, bundle, **options), theirs

    return get
