"""Which prompt and sample the name of an image speaks of."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from t2i_spatial.prompts.repeats import REPEATED_AS
from t2i_spatial.scene import Prompt

_NUMBERED = re.compile(r"(.+?)(?:[_\- .]+(?:seed|sample|image|img|s)?[_\- ]?|\s*\()(\d+)\)?", re.I)
_SIGNS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Named:
    """What a name says.

    Attributes:
        prompt_id: of the set, or of a line that repeats a prompt (`PromptNames.lines`).
        sample: the number in the name, `None` when there is none.
        by_text: whether the name holds the prompt's text and not its id.
        either: whether the whole name is an id, too.
    """

    prompt_id: str
    sample: int | None
    by_text: bool = False
    either: bool = False


@dataclass(frozen=True)
class PromptNames:
    """Finds prompts by the names of their images: `<id>_<n>`, `<id>`, `<text>_<n>`, `<text>`.

    Numbers may lack the zeros of the id ("7" for "00007"), texts their signs and capitals
    ("a_cat_on_a_mat").

    Attributes:
        ids: in the order of the set.
        texts: text -> ids.
        plain: text as in a file name -> ids, `()` where two texts look the same.
        lines: id of a line that repeats a prompt -> id of the prompt and which repetition it is,
            from 1 (see `prompts.repeats`).
        shift: added to numbers of names that count from 1 where the ids count from 0.
    """

    ids: Mapping[str, int]
    texts: Mapping[str, Sequence[str]]
    plain: Mapping[str, Sequence[str]]
    lines: Mapping[str, tuple[str, int]]
    shift: int = 0

    @classmethod
    def of(cls, prompts: Iterable[Prompt]) -> PromptNames:
        """Names of a prompt set."""
        return cls._of((p.id, p.text, p.metadata.get(REPEATED_AS)) for p in prompts)

    @classmethod
    def of_table(cls, prompts: pl.DataFrame) -> PromptNames:
        """Names of a PROMPTS table."""
        rows = prompts.select("prompt_id", "text", "metadata").iter_rows()
        return cls._of(
            (id, text, json.loads(said).get(REPEATED_AS) if said and REPEATED_AS in said else None)
            for id, text, said in rows
        )

    @classmethod
    def _of(cls, rows: Iterable[tuple[str, str, Sequence[str] | None]]) -> PromptNames:
        ids: dict[str, int] = {}
        texts: dict[str, list[str]] = defaultdict(list)
        lines: dict[str, tuple[str, int]] = {}
        for id, text, further in rows:
            ids[id] = len(ids)
            texts[text].append(id)
            for place, other in enumerate(further or (), 1):
                lines[str(other)] = (id, place)
        plain: dict[str, Sequence[str]] = {}
        for text, of_text in texts.items():
            if name := _plain(text):
                plain[name] = () if name in plain else of_text
        return cls(ids, texts, plain, lines)

    def counted_from_one(self, stems: Iterable[str]) -> PromptNames:
        """The same for names that count from 1: as many as there are ids, which count from 0.

        Only where all names are whole numbers, the last of which no id has.
        """
        last = len(self.ids) + len(self.lines)
        if not last or {_number(id) for id in (*self.ids, *self.lines)} != set(range(last)):
            return self
        matches = [re.fullmatch(r"(\d+)(?:_\d+)?", stem) for stem in stems]
        numbers = {int(match[1]) for match in matches if match is not None}
        if not matches or None in matches or min(numbers) < 1 or max(numbers) != last:
            return self
        return replace(self, shift=-1)

    def find(self, stem: str) -> Named | None:
        """What a file name without its ending says, or `None` when it names no prompt."""
        match = re.fullmatch(r"(.+)_(\d+)", stem) or _NUMBERED.fullmatch(stem)
        if match is not None and (known := self._by_id(match[1])) is not None:
            return Named(known, int(match[2]), either=not self.shift and stem in self.ids)
        if (known := self._by_id(stem)) is not None:
            return Named(known, None)
        if match is not None and (prompt_ids := self.by_text(match[1])):
            return Named(prompt_ids[0], int(match[2]), by_text=True)
        if prompt_ids := self.by_text(stem):
            return Named(prompt_ids[0], None, by_text=True)
        return None

    def by_text(self, text: str) -> Sequence[str]:
        """Ids of the prompts of a text, in the order of the set."""
        return self.texts.get(text) or self.plain.get(_plain(text)) or ()

    def _by_id(self, name: str) -> str | None:
        if not self.shift and (name in self.ids or name in self.lines):
            return name
        number = _number(name)
        return None if number is None else self._by_number.get(number + self.shift)

    @cached_property
    def _by_number(self) -> Mapping[int, str]:
        """Ids that are numbers, unless two ids are the same number."""
        seen: dict[int, list[str]] = defaultdict(list)
        for id in (*self.ids, *self.lines):
            if (number := _number(id)) is not None:
                seen[number].append(id)
        return {number: ids[0] for number, ids in seen.items() if len(ids) == 1}


def _number(name: str) -> int | None:
    return int(name) if name.isascii() and name.isdecimal() and len(name) < 19 else None


def _plain(text: str) -> str:
    """A text as tools make file names of it: lower case, every sign an underscore."""
    return _SIGNS.sub("_", text.lower()).strip("_")
