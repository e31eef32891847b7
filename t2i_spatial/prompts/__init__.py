"""Prompt sets: built in, read from files, parsed from text, sampled."""

from t2i_spatial.prompts.jsonl import write_prompts
from t2i_spatial.prompts.load import load_prompts, read_scenes, unread
from t2i_spatial.prompts.parser import parse_prompt
from t2i_spatial.prompts.sr2d import sr2d
from t2i_spatial.prompts.stratify import sample_prompts

__all__ = [
    "load_prompts",
    "parse_prompt",
    "read_scenes",
    "sample_prompts",
    "sr2d",
    "unread",
    "write_prompts",
]
