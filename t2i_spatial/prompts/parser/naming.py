"""From noun phrases to things: what names an object, what a kind of picture, what a text."""

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
    NP,
    OR,
    PREP,
    REL,
    STOP,
    SUB,
    TEXT,
    THAT,
    VERB,
    WITH,
    Chunk,
)
from t2i_spatial.prompts.parser.coordination import Coordination
from t2i_spatial.prompts.parser.coreference import head_of
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase
from t2i_spatial.prompts.parser.nouns import (
    BODY_PARTS,
    DEPICTIONS,
    SCENE_NOUNS,
)
from t2i_spatial.prompts.parser.reading_state import (
    GROUND,
    OTHER,
    OWNED,
    SUBJECT,
    THEME,
)
from t2i_spatial.prompts.words import word_set
from t2i_spatial.scene import ObjectSpec

HANGS = word_set(
    "painting picture photo photograph portrait poster print drawing mural mosaic sketch icon logo "
    "sticker emoji cover artwork meme comic"
)
"""Kinds of pictures that may be things in the picture."""
DEPICTING = word_set(
    "show depict feature illustrate portray capture display take represent present"
)
WRITTEN = word_set(
    "word words text letter letters phrase message title label caption slogan sign inscription "
    "sentence quote number lettering name writing logo initial"
)
"""What may stand before a quoted string."""


class Naming(Coordination):
    """Makes things of noun phrases."""

    def _objects(
        self, phrases: Sequence[NounPhrase], role: int, others: Sequence[int] = ()
    ) -> list[int]:
        found: list[int] = []
        if len(phrases) == 1 and phrases[0].definite and self._next().kind == FRAME:
            # "the bird on the right" is no bird that was on the left
            spec = replace(phrases[0].spec, frame_position=self._next().word)
            phrases = [phrases[0]._replace(spec=spec)]
        for phrase in phrases:
            found += self._object(phrase, role, (*others, *found))
        return found

    def _object(self, phrase: NounPhrase, role: int, others: Sequence[int]) -> list[int]:
        """The thing a noun phrase names, as a list; empty when it names none."""
        name = phrase.spec.name
        head = head_of(name)
        part = phrase.part_of
        if part is not None and part.scene and self._hangs(part):
            phrase, part = part._replace(part_of=None), None
            head = head_of(phrase.spec.name)
        if part is not None and part.scene:
            part = None
        known = phrase.definite and head in self.things.by_head
        if not phrase.thing and not known:
            if part is not None and part.thing:
                return self._object(part, role, others)
            return []
        if head in BODY_PARTS and role != GROUND and (phrase.possessive or role in (OWNED, THEME)):
            return []
        if head in BODY_PARTS and phrase.spec.frame_position:
            spec = phrase.spec
            side = (spec.frame_position,) if spec.frame_position else ()
            spec = replace(spec, frame_position=None, attributes=spec.attributes + side)
            phrase = phrase._replace(spec=spec)
        single = not others and phrase.article != "number"
        if single and head in SCENE_NOUNS and self._kind_of_picture(phrase, role):
            return []
        index = self.things.index(phrase, others)
        if part is not None and part.thing and head not in DEPICTIONS:
            self._object(part, OTHER, (*others, index))
        return [index]

    def _hangs(self, phrase: NounPhrase) -> bool:
        """Whether "a painting of a boat" is a thing in the picture and not the picture itself."""
        return (
            head_of(phrase.spec.name) in HANGS
            and phrase.article in ("a", "number")
            and (self.after != STOP or bool(self.things.objects))
        )

    def _kind_of_picture(self, phrase: NounPhrase, role: int) -> bool:
        if role in (GROUND, THEME, OWNED) and phrase.article in ("a", "number"):
            return False
        kind = self._next().kind
        begins = self.at <= 2 or self.after == STOP
        if role == SUBJECT and begins and kind in (HAVE, WITH, STOP, COMMA, THAT, SUB):
            return True
        if role == SUBJECT and begins and kind == VERB:
            verb = self._next().verb
            return verb is not None and verb.stem in (
                "show", "depict", "feature", "illustrate", "portray", "capture", "display",
                "take", "represent", "present",
            )  # fmt: skip
        style = kind == PREP and self._next().word == "in-style-of"
        return not phrase.article and (style or kind in (STOP, COMMA))

    def _absent(self, at: int) -> None:
        """ "Not a dog", "without cups or plates": they must not be there."""
        self.negated = False
        self.at = at
        while True:
            phrase = self._next().phrase
            if self._next().kind != NP or phrase is None:
                break
            self.at += 1
            if phrase.thing:
                spec = replace(phrase.spec, count=0, count_rule="exactly")
                self.things.index(phrase._replace(spec=spec, new=True))
            if self._next().kind in (OR, AND, COMMA) and self._next(1).kind == NP:
                # "without a hat and a dog runs": what has a predicate is another clause
                if self._next().kind != OR and self._kind(self.at + 2) in (COP, VERB, REL, HAVE):
                    break
                if self._next().kind == COMMA and not self.closes[self.at]:
                    break
                self.at += 1
            elif (
                self._next().kind == COMMA and self._next(1).kind == OR and self._next(2).kind == NP
            ):
                self.at += 2
            else:
                break
        self.after = NP
        self.role = OTHER

    def _write(self, text: str, phrase: NounPhrase | None = None) -> int:
        spec = ObjectSpec("text", 1, phrase.spec.color if phrase else None, text=text)
        self.things.objects.append(spec)
        self.things.heads.append("text")
        self.things.bare.append(False)
        return len(self.things.objects) - 1

    def _is_text(self, chunk: Chunk) -> bool:
        """ "The word 'STOP'": the text is the thing."""
        phrase = chunk.phrase
        assert phrase is not None
        if self._next().kind != TEXT or head_of(phrase.spec.name) not in WRITTEN:
            return False
        self.at += 1
        found = self._write(self._quoted(), phrase)
        while self._next().kind in (AND, COMMA, TEXT) and self._next(1).kind == TEXT:
            self.at += 1
        if self.fronted:
            for relations, grounds in self.fronted:
                for relation in relations:
                    self.things.relate([found], relation, grounds)
            self.fronted = []
        self.group = [found]
        self.role = OWNED if self.after == WITH else SUBJECT
        if self.role == SUBJECT and not self.subject:
            self.subject = self.group
        self.after = NP
        return True

    def _quoted(self) -> str:
        text = self.quotes[self.quoted] if self.quoted < len(self.quotes) else ""
        self.quoted += 1
        return text or "?"

    def _said(self) -> None:
        """The text behind "that says"."""
        if self._next().kind == TEXT:
            return
        words: list[str] = []
        while self._next().kind in (NP, VERB, ADJP) and len(words) < 12:
            chunk = self._next()
            words.append(chunk.word)
            self.at += 1
        if words:
            self._write(" ".join(words))
        self.after = TEXT
