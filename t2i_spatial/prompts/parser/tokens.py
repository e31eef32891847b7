"""From text to tokens: words, punctuation, strings in quotation marks, fixed expressions."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""["“”«»„]([^"“”«»„]{1,200})["“”«»„]"""  # 1: "a string"
    r"""|(?<!\w)['‘‚]((?![^\w'’]*\s)[^'‘’]{1,100}(?:['’](?=\w)[^'‘’]{1,60})?)['’](?!\w)"""  # 2
    r"""|(\d+(?:[.,]\d+)+(?!\w))"""  # 3: 1,000 or 2.5
    r"""|(\w+(?:[-'’]\w+)*(?:(?<=s)['’](?=\s))?|[&,.;:!?()\n])"""
)
QUOTE = '"'
"""Token that stands for a quoted string; the strings stand beside the tokens."""

_FIXED_TEXT = """
at least=at-least|at most=at-most|no more than=at-most|up to=at-most|no fewer than=at-least
no less than=at-least|a minimum of=at-least|a maximum of=at-most|or more=or-more
each other=each-other|one another=each-other|as well as=and|together with=and|along with=and
accompanied by=and|followed by=and|and also=and|and then=and|cut in half=halved
sliced in half=halved|rather than=not|instead of=not|but not=not|and not=not|but no=no|and no=no
in the style of=in-style-of|in style of=in-style-of|in the manner of=in-style-of
style of=in-style-of|made of=made-of|made from=made-of|made out of=made-of|made up of=made-of
composed of=made-of|made entirely of=made-of|crafted from=made-of|built from=made-of
built of=made-of|constructed from=made-of|consisting of=made-of|constructed of=made-of
carved from=made-of|carved out of=made-of|filled with=full-of|full of=full-of|packed with=full-of
loaded with=full-of|brimming with=full-of|topped with=topped-with|topped by=topped-with
adorned with=decorated-with|decorated with=decorated-with|lined with=decorated-with
stuffed with=full-of|equipped with=with|complete with=with|along side=alongside|because of=due-to
due to=due-to|thanks to=due-to|in order to=to|so that=while|even though=while|such as=like
as if=as-if|as though=as-if|on the other hand=also|at the same time=also|in addition=also
of course=also|for example=also|a few=several|quite a few=several|a couple more=several
a number of=several|a variety of=several|a lot of=several|lots of=several|plenty of=several
hundreds of=several|dozens of=several|thousands of=several|an array of=several
an assortment of=several|a multitude of=several|a series of=several|tons of=several|out of=out-of
kind of=|sort of=|type of=|types of=|kinds of=|out of focus=blurry|black and white=black-and-white
there 's=there's|oil on canvas=oil-on-canvas|hand in hand=together|face to face=together
side-by-side=side by side|up close=|of of=of|a-top=atop|there are=there's|there is=there's
there was=there's|there were=there's|in the act of=|in the process of=|none of=no|with no=without
doesn't have=without|doesn’t have=without|does not have=without|don't have=without
do not have=without|has no=without|have no=without|is without=without|are without=without
having no=without|not any=no|without any=without|but without=without|and without=without
free of=without|devoid of=without|lacking=without|lacks=without|absent of=without|has not=without
have not=without|had no=without|minus=without|excluding=without|except for=without|except=without
is missing=without|are missing=without|missing=missing|no longer=not|shaped like=shaped-like
in the shape of=shaped-like|in the form of=shaped-like|dressed as=shaped-like
looking like=shaped-like|looks like=shaped-like|resembling=shaped-like|that looks like=shaped-like
in the likeness of=shaped-like|disguised as=shaped-like|can be seen=is seen|can be found=is found
could be seen=is seen|may be seen=is seen|half full of=full-of|half filled with=full-of
all kinds of=several|all sorts of=several
"""
_FIXED: dict[str, dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]] = {}
"""First word -> second word ("" for none) -> expressions, longest first, and what stands for them.
"""
for _entry in re.split(r"[|\n]+", _FIXED_TEXT.strip()):
    _words, _, _one = _entry.partition("=")
    _key = tuple(_words.split())
    _second = _key[1] if len(_key) > 1 else ""
    _FIXED.setdefault(_key[0], {}).setdefault(_second, []).append((_key, tuple(_one.split())))
for _seconds in _FIXED.values():
    for _list in _seconds.values():
        _list.sort(key=lambda pair: -len(pair[0]))
_NUMBERLIKE = re.compile(r"\d+|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty")
_COMPARED = {"more": "more-than", "fewer": "fewer-than", "less": "fewer-than", "over": "more-than"}


def tokenize(text: str) -> tuple[list[str], list[str]]:
    """Lower-case tokens of a text, and its quoted strings in the order of the `QUOTE` tokens.

    >>> tokenize('A sign that says "STOP", as well as a dog')
    (['a', 'sign', 'that', 'says', '"', ',', 'and', 'a', 'dog'], ['STOP'])
    """
    tokens: list[str] = []
    quotes: list[str] = []
    if '"' in text or "'" in text or not text.isascii():
        for double, single, number, word in _TOKEN.findall(text):
            if word:
                tokens.append(word.lower())
            elif number:
                tokens.append(number.replace(",", ""))
            else:
                quotes.append((double or single).strip())
                tokens.append(QUOTE)
    else:
        tokens = _PLAIN.findall(text.lower())
    return _join(tokens), quotes


_PLAIN = re.compile(r"\d+(?:[.,]\d+)+(?!\w)|\w+(?:-\w+)*|[&,.;:!?()\n]")


def _join(tokens: list[str]) -> list[str]:
    """Fixed expressions as one token."""
    if _FIXED.keys().isdisjoint(tokens) and _COMPARED.keys().isdisjoint(tokens):
        return tokens
    joined: list[str] = []
    at, count = 0, len(tokens)
    while at < count:
        token = tokens[at]
        if token in _COMPARED and at + 2 < count:
            behind = at + 1 + (tokens[at + 1] == "than")
            than = tokens[at + 1] == "than"
            if _NUMBERLIKE.fullmatch(tokens[behind]) and than:
                joined.append(_COMPARED[token])
                at = behind
                continue
        found = _fixed(tokens, at, token) if token in _FIXED else None
        if found is None:
            joined.append(token)
            at += 1
        else:
            joined += found[1]
            at += len(found[0])
    return joined


def _fixed(
    tokens: list[str], at: int, token: str
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The fixed expression that begins at `at`."""
    seconds = _FIXED[token]
    following = tokens[at + 1] if at + 1 < len(tokens) else ""
    for words, one in (*seconds.get(following, ()), *seconds.get("", ())):
        if len(words) < 3 or tuple(tokens[at : at + len(words)]) == words:
            return words, one
    return None
