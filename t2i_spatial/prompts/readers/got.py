"""Prompts with a reasoning chain in GoT-R1's format; `layout` and `gotr1` take them.

Source: gogoduan/GoT-R1 @ 95534b3.
"""

from __future__ import annotations

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.got_chain import CHAIN, parse_chain
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.scene import Prompt

CHAINS = ("got", "chain", "reasoning")
TEXTS = ("prompt", "caption", "text")


def _key(record: Record, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if isinstance(record.get(name), str)), None)


def _matches(record: Record) -> bool:
    chain = _key(record, CHAINS)
    held = chain is not None and CHAIN.search(record[chain]) is not None
    return held and _key(record, TEXTS) is not None and "scene" not in record


def _read(record: Record, number: int) -> Prompt:
    text, chain = _key(record, TEXTS), _key(record, CHAINS)
    if text is None or chain is None:
        raise InputError(
            f"a chain ({', '.join(CHAINS)}) and a text ({', '.join(TEXTS)}) are needed"
        )
    metadata = {"layout": parse_chain(record[chain]), "chain": record[chain]}
    return Prompt(own_id(record, number), text_of(record, text), metadata=metadata)


FORMATS.register("got")(PromptFormat(_matches, _read))
