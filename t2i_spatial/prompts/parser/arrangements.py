"""Ways to say how things lie that no rule reads: found in the text itself, so none goes unnoticed.

The rules drop adverbs and idioms that stand outside noun phrases and relations. Most say nothing
about the layout ("happily", "at sunset"); those listed here do, and a scene without them would be
another scene.
"""

from __future__ import annotations

import re

_NUMBER = "(?:one|two|three|four|five|six|seven|eight|nine|ten|\\d+)"
_ORDINAL = "(?:second|third|fourth|fifth|sixth|seventh|last|next)"
_SIDE = "(?:the )?(?:left|right|top|bottom)"
_LENGTH = "(?:foot|feet|inch|inches|yards?|met(?:er|re)s?|centimet(?:er|re)s?|cm|arm's length)"
_AWAY = "(?:of|from|away|apart|above|below)"
_BODY = "(?:back|face|head|nose|side|end|bumper|cheek|shoulder)"

_PHRASES = (
    # how a thing is turned
    r"upside[- ]down",
    r"(?:facing|turned|looking|pointing) (?:away from|towards?|at|to) the (?:camera|viewer)",
    r"(?:facing|turned) (?:away|backwards?|sideways|left|right|up|down)",
    r"(?:counter)?clockwise",
    r"at \w+ o'clock",
    # how things lie together
    rf"\b({_BODY})[- ]to[- ]\1",
    r"in (?:a )?(?:tight |loose |single )?(?:formation|file)",
    r"diagonal(?:ly)?",
    rf"on (?:all|every|each)(?: {_NUMBER})? sides?",
    r"to neither side",
    r"on one either side",
    r"(?:an?|one) [\w-]+ on (?:either|each) side",
    # which one, and how many of them
    rf"the {_ORDINAL} [\w-]+ from {_SIDE}",
    r"with the (?:middle|left|right|first|second|third|last|other|top|bottom|\w+most) one",
    rf"(?:all|any) but {_NUMBER}",
    rf"only {_NUMBER} of",
    rf"between {_NUMBER} and {_NUMBER} (?!of)[a-z-]+s",
    rf"{_NUMBER} (?:to|or) {_NUMBER} [a-z-]+",
    # what is hardly so, or nowhere
    r"(?:hardly|scarcely|barely) any",
    r"(?:empty|free|clear) of [\w-]+",
    r"no [\w-]+ (?:anywhere|in sight|to be seen)",
    r"nowhere(?: near)?",
    r"(?:almost|nearly|not quite|barely) (?:touching|reaching|on|in|under|above|below|behind)",
    # how far
    rf"(?:within )?(?:an?|half a|{_NUMBER}|several|a few) {_LENGTH} {_AWAY}",
)
UNREAD = re.compile(rf"(?<![\w-])(?:{'|'.join(_PHRASES)})(?![\w-])")


def unread_arrangements(text: str, unparsed: list[str]) -> list[str]:
    """The phrases of a text that say how things lie and that stand in `unparsed` in no form.

    >>> unread_arrangements("Two chairs back to back, one upside down.", [])
    ['back to back', 'upside down']
    >>> unread_arrangements("a cat to the left of a dog", [])
    []
    """
    lowered = text.lower()
    return [
        found[0] for found in UNREAD.finditer(lowered) if not any(found[0] in p for p in unparsed)
    ]
