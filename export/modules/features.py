"""The names that modules know each other's results by, those of sentence-transformers."""

import torch

from ...runtime.graphs.signature import MASK, POOLED, VECTOR

__all__ = ["MASK", "POOLED", "STATES", "VECTOR", "Features"]

Features = dict[str, torch.Tensor]

STATES = "token_embeddings"
