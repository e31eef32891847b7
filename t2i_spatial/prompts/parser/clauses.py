"""From tokens to a scene: who stands in which relation to whom.

Attachment rules, where English is ambiguous:

- a relation behind a noun phrase belongs to that phrase ("a cup on a table left of a lamp": the
  table is left of the lamp); behind "is", a finite verb, a comma or "and", to the subject of the
  clause;
- coordinated subjects share what follows ("a cat and a dog on a bench": both are on it);
- a noun phrase that "and" adds behind a relation's object starts anew: it takes no part in the
  relation ("a cat on a mat and a dog");
- "the cat" behind an earlier "cat" is that cat; "it" is what something was last related to, or
  else the topic of the sentence.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from t2i_spatial.prompts.parser.draft import Draft
from t2i_spatial.prompts.parser.kinds import (
    COMMA,
    CONJUNCTION,
    COPULA,
    DETERMINER,
    INTENSIFIER,
    KINDS,
    NOT,
    NUMBER,
    PREPOSITION,
    PRONOUN,
    RELATIVE,
    STARTER,
    STOP,
    THERE,
    WITH,
    WITHOUT,
)
from t2i_spatial.prompts.parser.lexicon import (
    NOT_THINGS,
    OTHER_PREPOSITIONS,
    POSTURES,
    STYLE_WORDS,
    TAKES_NO_OBJECT,
    THE_PICTURE,
)
from t2i_spatial.prompts.parser.noun_phrase import (
    NounPhrase,
    noun_phrase,
    predicate,
)
from t2i_spatial.prompts.parser.phrases import (
    RelationPhrase,
    match_frame,
    match_relation,
)
from t2i_spatial.prompts.parser.runs import content_run, fronts

_CLOSING = frozenset([CONJUNCTION, COMMA, STOP, COPULA, WITH, WITHOUT, RELATIVE])
_EMPTY = frozenset(["both", "all", "together"])


class Reader(Draft):
    """Reads one prompt; `objects`, `relations` and `unparsed` are the result."""

    __slots__ = (
        "after",
        "answered",
        "between",
        "clause_subject",
        "conjunct",
        "fronted",
        "group",
        "in_with",
        "is_object",
        "negated",
        "pending",
        "pending_frame",
        "relative",
        "tokens",
        "topic",
    )

    def __init__(self, tokens: list[str]) -> None:
        super().__init__()
        self.tokens = tokens
        # objects of the last (coordinated) noun phrase, the subject of the clause, its first topic
        self.group: list[int] = []
        self.clause_subject: list[int] = []
        self.topic: list[int] = []
        # relation phrases that wait for their object
        self.pending: list[RelationPhrase] = []
        # "next to a dog ...": relations and objects that wait for their subject
        self.fronted: tuple[list[RelationPhrase], list[int]] | None = None
        # the same once the subject is there: "... are a cup and a plate" adds further ones
        self.answered: tuple[list[RelationPhrase], list[int]] | None = None
        self.pending_frame: str | None = None
        self.is_object = False
        self.conjunct = False
        self.between = False
        self.in_with = False
        self.negated = False
        self.relative = False
        # kind of the token before, -1 at the start, DETERMINER behind a noun phrase
        self.after = -1

    def read(self, start: int) -> None:
        """Read all tokens from `start` on."""
        tokens, kinds = self.tokens, KINDS
        count = len(tokens)
        at = start
        while at < count:
            token = tokens[at]
            kind = kinds.get(token)
            if kind is None or kind <= NUMBER:
                at = self._run(at)
                continue
            if kind in (STARTER, PREPOSITION):
                at = self._relation_or_preposition(at, kind)
                continue
            at += 1
            if self.after == STARTER and kind in _CLOSING and _kind(tokens, at) != STARTER:
                self._drop_pending()
            if kind == CONJUNCTION:
                if self.after == COMMA and self.in_with:
                    # "a man with a dog, and a cat": the cat is not with him
                    self.is_object = True
                self.conjunct = True
                self.after = CONJUNCTION
            elif kind == COMMA:
                if at < count and self._style_follows(at):
                    at = self._style(at)
                    continue
                self.conjunct = True
                self.after = COMMA
            elif kind == STOP:
                self.finish()
            elif kind == COPULA:
                if not self.relative and self.fronted is None and self.clause_subject:
                    self.group = self.clause_subject
                self.relative = False
                self.conjunct = False
                self.after = COPULA
            elif kind == WITH:
                self._start_group(WITH)
            elif kind == WITHOUT:
                self.negated = True
                self.after = WITHOUT
            elif kind == NOT:
                self.negated = True
                self.loose.append(token)
                self.after = COPULA
            elif kind == RELATIVE:
                self.relative = True
            elif kind == PRONOUN:
                self._pronoun(token)
            elif kind == THERE:
                while at < count and kinds.get(tokens[at]) == COPULA:
                    at += 1
                self.after = -1 if self.fronted is None else COPULA
            elif kind == INTENSIFIER and at < count and kinds.get(tokens[at]) != STARTER:
                at = self._run(at - 1)
        self.finish()

    # noun phrases

    def _run(self, at: int) -> int:
        """Read the words from `at` up to the next boundary as a noun phrase or a predicate."""
        words, end = content_run(self.tokens, at)
        phrase = noun_phrase(words)
        after = self.after
        answers = self.fronted is not None and phrase.spec is not None
        bare = not phrase.determined and after in (COPULA, DETERMINER) and not self.pending
        if bare and not answers:
            self._predicate(words, after)
        elif phrase.spec is None:
            self._loose_words(words)
        else:
            self._object(phrase, words)
        return end

    def _predicate(self, words: tuple[str, ...], after: int) -> None:
        """Words behind "is", or behind a noun phrase without being one."""
        color, attributes, rest = predicate(words)
        if after == COPULA and self.group and not self.negated and (color or attributes):
            for index in self.group:
                spec = self.objects[index]
                self.objects[index] = replace(
                    spec,
                    color=spec.color or color,
                    attributes=spec.attributes + attributes,
                )
            words = rest
        self._loose_words(words)

    def _object(self, phrase: NounPhrase, words: tuple[str, ...]) -> None:
        spec = phrase.spec
        assert spec is not None
        name = spec.name
        if name in NOT_THINGS and (phrase.definite or name not in THE_PICTURE):
            self._no_thing(name, words)
            return
        if self.loose and self.loose[-1] in TAKES_NO_OBJECT:
            self._loose_words(words)
            return
        if self.negated and self.after == WITHOUT:
            spec = replace(spec, count=0)
            self.negated = False
        index = self.index(spec, phrase.definite)
        if self.pending:
            if self.subjects:
                self._relate(index)
            elif self.fronted is None:
                self.fronted = (self.pending, [index])
            if not self.between or self.is_object or spec.count != 1:
                self.pending = []
                self.between = False
            self.group = [index]
            self.is_object = True
        elif self.fronted is not None:
            self._answer_fronted(index)
        elif self.conjunct and self.group and not self.is_object:
            if self.clause_subject is not self.group:
                self.clause_subject = self.group
            self.group.append(index)
            if self.answered:
                self._answer(index)
        else:
            self.group = [index]
            if self.after in (-1, CONJUNCTION, COMMA) or not self.clause_subject:
                self.clause_subject = self.group
                self.in_with = False
            self.is_object = False
        if not self.topic:
            self.topic = self.group
        if self.pending_frame:
            self.place(self.pending_frame, [index])
            self.pending_frame = None
        self.conjunct = False
        self.after = DETERMINER
        if phrase.rest:
            self._verb(phrase.rest)
        elif self.loose:
            self.flush()

    def _answer_fronted(self, index: int) -> None:
        """A noun phrase behind "next to a dog": its subject, or one more object of it."""
        assert self.fronted is not None
        phrases, targets = self.fronted
        if self.conjunct and self.after == CONJUNCTION:
            targets.append(index)
            return
        self.fronted = None
        self.answered = (phrases, targets)
        self._answer(index)
        self.group = self.clause_subject = [index]
        self.is_object = False

    def _answer(self, subject: int) -> None:
        assert self.answered is not None
        phrases, targets = self.answered
        for target in targets:
            for phrase in phrases:
                self.add(subject, phrase, target)

    def _pronoun(self, token: str) -> None:
        known = self.topic
        if self.pending:
            others = [i for i in range(len(self.objects)) if i not in self.subjects]
            grounds = [r.object for r in self.relations if r.object in others]
            topics = [i for i in known if i in others]
            known = grounds[-1:] or topics or others[-1:]
        if not known:
            self.loose.append(token)
            self.pending = []
        elif self.pending:
            if self.subjects:
                for index in known:
                    self._relate(index)
            else:
                self.fronted = (self.pending, list(known))
            self.pending = []
            self.group = list(known)
            self.is_object = True
        else:
            self.group = self.clause_subject = list(known)
            self.is_object = False
        self.after = DETERMINER

    def _start_group(self, after: int) -> None:
        """What follows "with" begins a phrase of its own; the subject of the clause stays."""
        self.flush()
        self.group = []
        self.is_object = False
        self.conjunct = False
        self.in_with = True
        self.after = after

    # relations

    def _relation_or_preposition(self, at: int, kind: int) -> int:
        tokens = self.tokens
        frame = match_frame(tokens, at)
        if frame is not None:
            self._frame(*frame)
            return frame[1]
        found = match_relation(tokens, at) if kind == STARTER else None
        if found is None:
            token = tokens[at]
            if token not in OTHER_PREPOSITIONS:
                return self._run(at)
            self.loose.append(token)
            self.after = PREPOSITION
            return at + 1
        phrase, end = found
        self.answered = None
        if not phrase.takes_object:
            self._alone(phrase)
            return end
        passive = phrase.text == "by" and self.loose and self.after == PREPOSITION
        if not phrase.relations or self.negated or passive:
            self.loose.extend(phrase.text.split())
            self.negated = False
            self.after = PREPOSITION
            self.group = []
            self.is_object = True
            return end
        if self.pending:
            self.pending.append(phrase)
        else:
            leads = self.after in (CONJUNCTION, COMMA) and self.clause_subject
            if leads and fronts(tokens, end):
                self.group = []
                leads = self.clause_subject = []
            self.subjects = list(self.clause_subject if leads else self.group)
            if self.fronted is not None and self.subjects == self.fronted[1]:
                self.loose.extend(phrase.text.split())
                return end
            self.pending = [phrase]
            self.between = phrase.text.endswith("between")
            self.is_object = False
        self.conjunct = False
        self.flush()
        if phrase.pronoun:
            self._pronoun("it")
        else:
            self.after = STARTER
        return end

    def _alone(self, phrase: RelationPhrase) -> None:
        """ "Next to each other": between neighbours of a coordinated group, where there is one."""
        if phrase.relations and len(self.group) > 1 and not self.negated:
            for subject, target in itertools.pairwise(self.group):
                self.add(subject, phrase, target)
        else:
            self.loose.extend(phrase.text.split())
            self.flush()
        self.after = DETERMINER

    def _relate(self, target: int) -> None:
        for phrase in self.pending:
            for subject in self.subjects:
                self.add(subject, phrase, target)

    # places in the picture

    def _frame(self, position: str, end: int) -> None:
        tokens = self.tokens
        following = _kind(tokens, end)
        if following == COMMA:
            following = _kind(tokens, end + 1)
        leads = self.after in (-1, CONJUNCTION, COMMA) and (
            not self.group
            or self.after == -1
            or following in (DETERMINER, NUMBER, COPULA, THERE)
            or (following is None and self.after == CONJUNCTION)
        )
        if leads:
            self.pending_frame = position
            self.group = []
            self.clause_subject = []
            self.conjunct = False
            self.after = -1
        elif self.group:
            self.place(position, self.group)
            self.is_object = True
        else:
            self.pending_frame = position
        self.flush()

    # what is not read

    def _verb(self, words: tuple[str, ...]) -> None:
        """Words behind a noun: a verb. A finite one speaks of the subject of the clause."""
        if not words[0].endswith(("ing", "ed")) and self.clause_subject:
            self.group = self.clause_subject
        self._loose_words(words)

    def _loose_words(self, words: tuple[str, ...]) -> None:
        kept = [word for word in words if word not in POSTURES and word not in _EMPTY]
        if self.pending and kept:
            self.loose[:0] = [word for phrase in self.pending for word in phrase.text.split()]
            self.pending = []
        self.loose.extend(kept)
        self.after = PREPOSITION if kept else DETERMINER

    def _no_thing(self, name: str, words: tuple[str, ...]) -> None:
        """ "In the distance", "in this picture": no object; only the latter says nothing."""
        if name in THE_PICTURE and self.pending:
            self.pending = []
        else:
            self._loose_words(words)
        self.after = DETERMINER if self.group else -1

    def _style_follows(self, at: int) -> bool:
        end = at
        tokens = self.tokens
        if KINDS.get(tokens[at]) is not None or tokens[at].isdecimal():
            return False
        while end < len(tokens) and tokens[end] not in (",", "."):
            if tokens[end] in STYLE_WORDS:
                return match_relation(tokens, at) is None
            end += 1
        return False

    def _style(self, at: int) -> int:
        self.flush()
        end = at
        while end < len(self.tokens) and self.tokens[end] not in (",", "."):
            end += 1
        self.unparsed.append(" ".join(self.tokens[at:end]))
        return end

    def _drop_pending(self) -> None:
        """A relation phrase without its object, as in "a cat underneath", was not read."""
        for phrase in self.pending:
            self.loose.extend(phrase.text.split())
        self.pending = []
        self.flush()

    def finish(self) -> None:
        """End a sentence: what still waits for its other part was not read."""
        self._drop_pending()
        if self.fronted is not None:
            self.unparsed.extend(phrase.text for phrase in self.fronted[0])
            self.fronted = None
        if self.pending_frame:
            self.unparsed.append(self.pending_frame)
            self.pending_frame = None
        self.answered = None
        self.group = []
        self.clause_subject = []
        self.topic = self.topic or [len(self.objects) - 1] if self.objects else []
        self.subjects = []
        self.is_object = self.conjunct = self.negated = self.relative = self.in_with = False
        self.after = -1


def _kind(tokens: list[str], at: int) -> int | None:
    if at >= len(tokens):
        return STOP
    return NUMBER if tokens[at].isdecimal() else KINDS.get(tokens[at])
