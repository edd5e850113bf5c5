"""Chats, tools and documents become prompts by a checkpoint's template, and answers become messages."""

from .templates import render_template

__all__ = ["render_template"]
