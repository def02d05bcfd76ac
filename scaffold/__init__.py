"""Generates multi-GPU PyTorch training projects that belong to their owner."""

__version__ = "0.10.0"
