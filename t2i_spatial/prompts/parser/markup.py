"""What is no language in a prompt: weights and tags of web UIs, HTML, control characters, emoji."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import NamedTuple

_MARKUP = re.compile(r"[<>(){}\[\]|\\&_*#~`^=+]|--|\bBREAK\b|:\d|://|[^\x20-\x7e\n]")
_TAG = re.compile(r"<[A-Za-z/!][^<>]{0,200}>")
_EXTRA = re.compile(r"<(?:lora|lyco|hypernet|embedding|lokr)\s?:[^<>]{0,200}>", re.IGNORECASE)
_WEIGHT = re.compile(
    r"([^\s():\[\],]|\s):\s?[-+]?\d+(?:\.\d+)?(?=\s*[)\]])|(?<=[)\]])[+-]+(?=\W|$)"
)
_WEIGHT_BARE = re.compile(r"(?<=\w)::?[-+]?\d+\.\d+\b")
_CHOICE = re.compile(
    r"([\[{])([^\[\]{}:|]{1,100})(?::([^\[\]{}:|]{0,100}):[\d.]+|(?:\|[^\[\]{}|]{1,100})+)[\]}]"
)
_PARAMETER = re.compile(r"(?:(?<=\s)|^)(?:--|—)[a-z]+(?:[ =](?!-)[\w.:/]+)?", re.IGNORECASE)
_BREAK = re.compile(r"\b(?:BREAK|ADDCOMM|ADDBASE|ADDROW|ADDCOL)\b")
_URL = re.compile(r"https?://\S{1,300}")
_BRACKETS = re.compile(r"[()\[\]{}]")
_SPACE = re.compile(r"[ \t\r\f\v]+")
_ESCAPED = re.compile(r"\\([()\[\]{}:,])")
_UNSPOKEN = re.compile(r"[\\*#~`^=+|<>_]+")
_QUOTE_MARKS = str.maketrans({"＂": '"', "″": '"', "´": "'", "`": "'", "‛": "'", "＇": "'"})


class Cleaned(NamedTuple):
    """The language of a prompt, and what was taken out of it.

    Attributes:
        text: what is left to read.
        stripped: the parts that were taken out, as they stood.
    """

    text: str
    stripped: tuple[str, ...]


def clean_prompt(text: str) -> Cleaned:
    """Take out what says how to make a picture and not what is in it.

    >>> clean_prompt("(a cat:1.3) on a mat <lora:fur:0.8> BREAK [dog]")
    Cleaned(text='a cat on a mat . dog', stripped=('<lora:fur:0.8>', ':1.3', 'BREAK', '()', '[]'))
    >>> clean_prompt("a red cat, on a mat")
    Cleaned(text='a red cat, on a mat', stripped=())
    """
    if _MARKUP.search(text) is None:
        return Cleaned(text, ())
    stripped: list[str] = []

    def take(pattern: re.Pattern[str], put: str, text: str) -> str:
        def one(match: re.Match[str]) -> str:
            stripped.append(match[0].strip())
            return put

        return pattern.sub(one, text)

    if not text.isascii():
        text = _plain_characters(text, stripped)
    if "&" in text:
        text = html.unescape(text)
    text = take(_EXTRA, " ", text)
    text = take(_TAG, " ", text)
    text = take(_URL, " ", text)
    text = take(_PARAMETER, " ", text)
    text = _ESCAPED.sub(r" \1 ", text)
    text = _CHOICE.sub(lambda match: _chosen(match, stripped), text)
    text = _WEIGHT.sub(lambda match: _weightless(match, stripped), text)
    text = take(_WEIGHT_BARE, " ", text)
    text = take(_BREAK, ".", text)
    text = _brackets(text, stripped)
    text = _UNSPOKEN.sub(" ", text)
    return Cleaned(_SPACE.sub(" ", text).strip(), tuple(dict.fromkeys(stripped)))


def _plain_characters(text: str, stripped: list[str]) -> str:
    """Compatibility characters in their plain form; no emoji, no control characters."""
    text = unicodedata.normalize("NFKC", text.translate(_QUOTE_MARKS))
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category in ("So", "Sk", "Cn", "Co", "Cs") and not character.isascii():
            stripped.append(character)
            kept.append(" ")
        elif category in ("Cc", "Cf", "Zl", "Zp") or category.startswith("Z"):
            kept.append("\n" if character in "\n\u2028\u2029" else _invisible(character))
        elif character in "–—":
            kept.append(" , ")
        else:
            kept.append(character)
    return "".join(kept)


def _invisible(character: str) -> str:
    """Zero-width characters stand inside words, all others between them."""
    return "" if character in "\u200b\u200c\u200d\u2060\ufeff\u00ad" else " "


def _chosen(match: re.Match[str], stripped: list[str]) -> str:
    """ "[cat|dog]", "[cat:dog:0.5]": the first, for a picture shows one."""
    stripped.append(match[0])
    return match[2]


def _weightless(match: re.Match[str], stripped: list[str]) -> str:
    kept = match[1] or ""
    stripped.append(match[0][len(kept) :].strip())
    return kept


def _brackets(text: str, stripped: list[str]) -> str:
    """Brackets of emphasis are dropped; a remark in round brackets stays between commas."""
    if not _BRACKETS.search(text):
        return text
    weighted = any(part.startswith(":") for part in stripped) or "((" in text
    for pair in ("()", "[]", "{}"):
        if pair[0] in text or pair[1] in text:
            remark = pair == "()" and not weighted
            if not remark:
                stripped.append(pair)
            text = text.replace(pair[0], " , " if remark else " ")
            text = text.replace(pair[1], " , " if remark else " ")
    return text
