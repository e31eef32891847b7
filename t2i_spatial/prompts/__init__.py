"""Prompt sets: built in, read from files, parsed from text, sampled."""

from t2i_spatial.prompts.fetch import fetch_prompts
from t2i_spatial.prompts.jsonl import write_prompts
from t2i_spatial.prompts.load import load_prompts, read_scenes, told_unread, unread
from t2i_spatial.prompts.parser import parse_prompt
from t2i_spatial.prompts.phrasing import describe, phrasings
from t2i_spatial.prompts.sampling import SceneOptions, sample_scenes, split_prompts
from t2i_spatial.prompts.sr2d import sr2d
from t2i_spatial.prompts.stratify import sample_prompts
from t2i_spatial.prompts.witness_layout import solve_layout

__all__ = [
    "SceneOptions",
    "describe",
    "fetch_prompts",
    "load_prompts",
    "parse_prompt",
    "phrasings",
    "read_scenes",
    "sample_prompts",
    "sample_scenes",
    "solve_layout",
    "split_prompts",
    "sr2d",
    "told_unread",
    "unread",
    "write_prompts",
]
