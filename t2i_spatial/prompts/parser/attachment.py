"""From chunks to a scene: who stands in which relation to whom.

Attachment rules, where English is ambiguous:

- the subject of a finite verb and of "is" is the head noun of its clause ("a man wearing a hat is
  next to a car": the man);
- a relation phrase behind a noun phrase belongs to that phrase; behind a relation's object, to the
  subject of that relation ("a cup on a table next to a lamp": the cup is next to the lamp), except
  that what is in or on something stands where that stands ("a fish in a bowl on a table": the bowl
  is on the table);
- a participle behind a thing speaks of the person before it, if it is what people do ("a tiger on
  a rooftop playing a guitar");
- coordinated subjects share what follows ("a cat and a dog on a bench"), unless a comma separates
  two clauses ("two dogs, and a pig in front of a cookie");
- coordinated objects share the relation ("next to a ship and a raft"), unless the second begins a
  clause of its own ("a cat on a mat and a dog on a sofa");
- "the cat" behind an earlier "cat" is that cat; a pronoun is the nearest thing that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from t2i_spatial.prompts.parser.chunks import (
    ADJP,
    AND,
    COMMA,
    COP,
    FRAME,
    HAVE,
    NOT,
    NP,
    OR,
    PREP,
    PRON,
    REL,
    STOP,
    SUB,
    TEXT,
    THAT,
    THERE,
    VERB,
    WITH,
    WITHOUT,
    Chunk,
)
from t2i_spatial.prompts.parser.coreference import Things, head_of
from t2i_spatial.prompts.parser.function_words import TAKES_NO_OBJECT
from t2i_spatial.prompts.parser.naming import WRITTEN
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase
from t2i_spatial.prompts.parser.nouns import (
    BODY_PARTS,
    CLOTHING,
)
from t2i_spatial.prompts.parser.predicates import Predicates
from t2i_spatial.prompts.parser.reading_state import (
    END,
    GROUND,
    OTHER,
    OWNED,
    SUBJECT,
    THEME,
)
from t2i_spatial.prompts.parser.relation_phrases import RelationPhrase
from t2i_spatial.prompts.words import word_set

_TOPPED = RelationPhrase(("on",), "topped with", reversed=True)
_CONSUMING = word_set(
    "made-of in-style-of shaped-like as-if due-to like as per via during since until despite unlike"
)
"""Prepositions whose noun phrase is no thing in the picture."""
_PLACING = word_set("at against across around through along past beyond")
_HAVING = word_set("has have had contains contain features")
_STAND_FOR_THINGS = word_set("one other object thing item")


class SceneReader(Predicates):
    """Reads the chunks of one prompt; the result stands in `things`."""

    def read(self) -> Things:
        """Read all chunks."""
        chunks, count = self.chunks, len(self.chunks)
        handlers = _HANDLERS
        while self.at < count:
            chunk = chunks[self.at]
            self.at += 1
            handlers[chunk.kind](self, chunk)
        self._stop(END)
        return self.things

    def _noun_phrase(self, chunk: Chunk) -> None:
        at = self.at - 1
        if self._kind(self.at) == STOP and self._next().word == ":" and self.after == STOP:
            return  # "Advertisement: ..."
        if self._is_text(chunk):
            return
        if self.negated and self.after in (NOT, COP):
            self._absent(at)
            return
        if self.after == COP and self.actor and not self.fronted:
            self._predicate_noun(chunk)
            return
        phrases, self.at = self._span(at, SUBJECT)
        if len(phrases) == 2 and self._pronoun_follows():
            # "two mountains and jets flying above them": the jets fly
            phrases, self.at = phrases[:1], at + 1
        owned = self.owning and self.after == AND and self._pronoun_follows()
        found = self._objects(phrases, OWNED if owned else SUBJECT)
        if self.fronted and found:
            for relations, grounds in self.fronted:
                for relation in relations:
                    self.things.relate(found, relation, grounds)
                self.related, self.relation = found, relations[-1]
            self.fronted = []
        if self.pending_place and found:
            self.things.place(self.pending_place, found)
            self.pending_place = ""
        self.verb = ""
        self.part = self.shines = False
        if self.subject and not owned and not self.earlier:
            self.earlier = self.subject
        self.group = found
        self.role = OWNED if owned else SUBJECT
        if not owned:
            self.subject = found
            self.owning = False
            self.finite = False
            self.relative = None
            self.actor = found
        self.after = NP

    def _pronoun_follows(self) -> bool:
        end = self.at
        for ahead in range(end, min(end + 3, len(self.chunks))):
            chunk = self.chunks[ahead]
            if chunk.kind not in (VERB, REL):
                break
            if chunk.kind == REL and chunk.relation is not None:
                return bool(chunk.relation.pronoun) or self._kind(ahead + 1) == PRON
        return False

    def _predicate_noun(self, chunk: Chunk) -> None:
        """ "The dog is a corgi": no second thing."""
        assert chunk.phrase is not None
        phrase = chunk.phrase
        name = phrase.spec.name
        head = head_of(name)
        if phrase.thing and head_of(self.things.objects[self.actor[0]].name) in (
            "one",
            "other",
            "object",
            "thing",
            "item",
        ):
            index = self.actor[0]
            self.things.objects[index] = replace(
                phrase.spec, frame_position=self.things.objects[index].frame_position
            )
            self.things.heads[index] = head
        elif phrase.thing:
            self.things.unparsed.append(f"is {name}")
        if phrase.spec.color:
            self.things.describe(self.actor, phrase.spec.color, phrase.spec.attributes)
        self.group = list(self.actor)
        self.role = SUBJECT
        self.after = NP

    def _text(self, chunk: Chunk) -> None:
        index = self._write(self._quoted())
        if self.after == WITH:
            self.group, self.role, self.after = [index], OWNED, NP
            return
        if self.after in (WITH, NP, VERB, REL, TEXT, STOP, COMMA, AND, COP):
            self.after = TEXT
        if self.role == OTHER or not self.group:
            self.group = [index]

    def _and(self, chunk: Chunk) -> None:
        if chunk.kind == OR:
            self.things.unparsed.append("or")
        self.after = (
            COMMA
            if self.after == COMMA and chunk.kind == AND and (self._next().kind == NP)
            else AND
        )

    def _comma(self, chunk: Chunk) -> None:
        self.after = COMMA if self.after != STOP else STOP

    def _stop(self, chunk: Chunk) -> None:
        for relations, _ in self.fronted:
            self.things.unparsed += [relation.text for relation in relations]
        if self.subject:
            self.topic = self.subject
        elif self.group:
            self.topic = self.group
        self._clause()

    def _there(self, chunk: Chunk) -> None:
        if not self.fronted:
            self.subject = []
            self.actor = []
            self.group = []
            self.role = OTHER
        self.after = THERE

    def _pronoun(self, chunk: Chunk) -> None:
        """A pronoun as a subject."""
        if chunk.word == "each-other":
            return
        kind = self._next().kind
        if chunk.word == "part":
            # "two dogs, one on a chair and the other on the floor"
            group = self.subject or self.group or self.topic
            self.subject = self.group = self.actor = list(group)
            self.role, self.after, self.part = SUBJECT, PRON if group else NP, True
            return
        if self.fronted:
            known = self.things.pronoun(chunk.word, [self.topic])
        else:
            known = self.things.pronoun(chunk.word, [self.subject, self.topic])
        if self.after in (STOP, SUB, COMMA, AND, THERE, NP) and kind in (
            COP, VERB, HAVE, NOT, ADJP, REL, FRAME, WITHOUT,
        ):  # fmt: skip
            self.subject = self.group = list(known)
            self.actor = list(known)
            self.role = SUBJECT
            self.relative = None
            self.finite = False
            self.owning = False
            if self.fronted and known:
                for relations, grounds in self.fronted:
                    for relation in relations:
                        self.things.relate(known, relation, grounds)
                self.fronted = []
        self.after = PRON if known else NP

    def _place(self, chunk: Chunk) -> None:
        kind = self._next().kind
        ahead = 1 if kind == COMMA else 0
        first = self._next(ahead)
        waits = self.after in (STOP, SUB) or (
            self.after in (COMMA, AND)
            and (first.kind in (THERE, COP) or (first.kind == NP and ahead == 0))
        )
        if waits:
            self.pending_place = chunk.word
            if self.after != STOP:
                self.subject = []
            self.actor, self.group, self.role = [], [], OTHER
            return
        if self.part:
            self.things.unparsed.append(f"one {chunk.word}")
            self.after = FRAME
            return
        target = self._anchor(Chunk(REL)) if self.role != GROUND else None
        if self.role == GROUND:
            target = self.related if self.after in (NP, FRAME) else self.actor
            if self.after in (VERB, COP):
                target = self.actor
            elif self.after in (AND, COMMA):
                target = self.related or self.subject
        if target:
            self.things.place(chunk.word, target)
        else:
            self.pending_place = chunk.word
        if self.after in (VERB, COP):
            self.group = list(self.actor)
            self.role = SUBJECT
        self.after = FRAME

    def _preposition(self, chunk: Chunk) -> None:
        """A preposition that says no relation of the table."""
        word = chunk.word
        following = self._next()
        if word == "topped-with" and following.kind == NP:
            host = self._anchor(Chunk(REL))
            phrases, self.at = self._span(self.at, OWNED)
            found = self._objects(phrases, GROUND, host)
            if found and host:
                self.things.relate(host, _TOPPED, found)
            self.group, self.role, self.after = host or found, SUBJECT, NP
            return
        if following.kind not in (NP, PRON):
            if word in ("at", "against", "across", "towards", "toward", "past", "beyond"):
                self.things.unparsed.append(word)
            return
        self.at += 1
        if following.kind == PRON:
            if word in _PLACING:
                self.things.unparsed.append(f"{word} {following.word}")
            return
        assert following.phrase is not None
        subject = self._anchor(Chunk(REL))
        plain = word.replace("-", " ")
        if word in _CONSUMING or (
            (word in TAKES_NO_OBJECT or word == "for")
            and following.phrase.article in ("", "the" if word != "to" else "")
        ):
            self._consume(following)
            if word in ("made-of", "shaped-like") and subject:
                said = f"{plain} {following.phrase.spec.name}"
                self.things.describe(subject, None, (said,))
            self.after = NP
            return
        filled = word in ("full-of", "decorated-with")
        phrases, self.at = self._span(self.at - 1, OWNED if filled else GROUND)
        found = self._objects(phrases, OWNED if filled or word == "at" else GROUND, subject)
        if found and not filled:
            names = self.things.objects[found[0]].name
            self.things.unparsed.append(f"{plain} {names}")
        if not subject and self.after == STOP:
            self.group, self.role = [], OTHER
        else:
            self.related = subject
            self.group = list(subject) if filled else found or list(subject)
            self.role = GROUND if found and not filled else SUBJECT
            self.relation = None
        self.after = NP

    def _consume(self, following: Chunk) -> None:
        """Noun phrases that name no thing ("made of wood and glass")."""
        while self._next().kind in (AND, OR) and self._next(1).kind == NP:
            if self._kind(self.at + 2) in (COP, VERB, REL, HAVE, FRAME):
                break
            phrase = self._next(1).phrase
            if phrase is not None and phrase.article:
                break
            self.at += 2

    def _with(self, chunk: Chunk) -> None:
        have = chunk.kind == HAVE
        after = self.after
        if have and chunk.word in _HAVING:
            if self.relative is not None:
                self.host, self.relative = self.relative, None
            else:
                self.host = self.subject or self.group
            self.finite = True
            self.actor = self.host
        elif after in (COMMA, AND, SUB):
            self.host = self.subject or self.group
        elif after in (VERB, COP, ADJP):
            self.host = self.actor
        elif self.role == GROUND and self._its_body():
            self.host = self.related
        elif self.role == THEME:
            self.host = self.actor or self.group
        else:
            self.host = self.group or self.subject
        self.owning = True
        self.owned_directly = after in (NP, VERB) and not have
        self.after = WITH
        following = self._next()
        if following.kind != NP:
            return
        if (
            self._next(1).kind == TEXT
            and following.phrase is not None
            and head_of(following.phrase.spec.name) in WRITTEN
        ):
            return
        phrases, end = self._span(self.at, OWNED)
        self.at = end
        self._own(phrases)

    def _its_body(self) -> bool:
        """ "A cat on a bed with its head on a pillow": the cat's."""
        phrase = self._next().phrase
        if phrase is None or not self.related or self.things.animate(self.group):
            return False
        body = head_of(phrase.spec.name) in BODY_PARTS or head_of(phrase.spec.name) in CLOTHING
        return body and self.things.animate(self.related)

    def _own(self, phrases: Sequence[NounPhrase]) -> None:
        found = self._objects(phrases, OWNED, self.host)
        for phrase in phrases:
            if head_of(phrase.spec.name) in BODY_PARTS and self.host and phrase.thing:
                said = " ".join(
                    [
                        "with",
                        *phrase.spec.attributes,
                        *([phrase.spec.color] if phrase.spec.color else []),
                        phrase.spec.name,
                    ]
                )
                self.things.describe(self.host, None, (said,))
        if self.pending_place and found:
            if not self.host:
                self.things.place(self.pending_place, found)
            self.pending_place = ""
        self.group = found
        self.role = OWNED
        self.after = NP
        if not self.subject and not self.host:
            # "a photo with a dog next to a cat": the dog is the subject
            self.subject = found
            self.role = SUBJECT

    def _without(self, chunk: Chunk) -> None:
        following = self._next()
        if following.kind == NP:
            self._absent(self.at)
        else:
            self.things.unparsed.append(chunk.word)
        self.after = NP


_HANDLERS = {
    NP: SceneReader._noun_phrase,
    VERB: SceneReader._verb,
    ADJP: SceneReader._adjectives,
    REL: SceneReader._relation,
    FRAME: SceneReader._place,
    PREP: SceneReader._preposition,
    COP: SceneReader._copula,
    HAVE: SceneReader._with,
    WITH: SceneReader._with,
    WITHOUT: SceneReader._without,
    NOT: SceneReader._not,
    AND: SceneReader._and,
    OR: SceneReader._and,
    COMMA: SceneReader._comma,
    STOP: SceneReader._stop,
    THERE: SceneReader._there,
    THAT: SceneReader._that,
    SUB: SceneReader._sub,
    PRON: SceneReader._pronoun,
    TEXT: SceneReader._text,
}
