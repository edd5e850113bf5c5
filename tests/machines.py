"""Machines that nobody has: a CPU with the features that a test names, and GPUs by name."""

from vitrify.runtime.machine import Machine


def machine(*features, gpus=()):
    return Machine(cpu_features=frozenset(features), cores=2, memory_bytes=1 << 34, model_name="a CPU", gpus=gpus)
