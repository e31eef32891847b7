"""Verbs, "is", adjectives: what is said of a subject."""

from __future__ import annotations

from t2i_spatial.prompts.parser.adjectives import COLORS, STYLE_WORDS
from t2i_spatial.prompts.parser.chunks import (
    ADJP,
    AND,
    COMMA,
    COP,
    FRAME,
    NOT,
    NP,
    PREP,
    PRON,
    REL,
    STOP,
    SUB,
    TEXT,
    THAT,
    VERB,
    Chunk,
)
from t2i_spatial.prompts.parser.coreference import head_of
from t2i_spatial.prompts.parser.nouns import (
    BODY_PARTS,
    CLOTHING,
    PARTS,
    VEHICLES,
)
from t2i_spatial.prompts.parser.reading_state import (
    GROUND,
    OWNED,
    SUBJECT,
    THEME,
)
from t2i_spatial.prompts.parser.relating import Relating
from t2i_spatial.prompts.parser.relation_phrases import RelationPhrase
from t2i_spatial.prompts.parser.verbs import AGENTIVE, LIGHT, POSTURES, SAYING
from t2i_spatial.prompts.parser.word_classes import ADVERB, classes
from t2i_spatial.prompts.words import word_set

_LIGHTS = word_set("shadow light glow reflection silhouette beam shade")
"""What falls on something else than what casts it."""
_FINITE_PAST = word_set("sat stood lay flew ran swam ate rode fell rose hung slept wore")
"""Past forms that are no participles."""


class Predicates(Relating):
    """Reads what is said of a subject."""

    def _verb(self, chunk: Chunk) -> None:
        verb = chunk.verb
        assert verb is not None
        if self.after in (COMMA, STOP) and chunk.word in STYLE_WORDS:
            return
        actor = self._verb_subject(chunk)
        self.actor = actor
        self.verb = verb.stem
        self.finite = self.finite or verb.form == "finite" or self.after == COP
        following = self._next()
        if verb.stem in SAYING and (following.kind == TEXT or verb.stem in ("say", "spell")):
            self.after = VERB
            self._said()
            return
        if chunk.relation is not None and self._takes(chunk.relation, following):
            self._relate(chunk.relation, actor, role=THEME)
            self.role = THEME if self.role == GROUND else self.role
            if self.role == THEME:
                self.host = actor
            return
        self.after = VERB
        if verb.form == "ed" and self._passive(verb.stem, following):
            self.at += 1
            phrases, self.at = self._span(self.at, THEME)
            self.things.unparsed.append(f"{chunk.word} by")
            self.group, self.role, self.after = self._objects(phrases, THEME, actor), THEME, NP
            return
        if following.kind == NP and not self.fronted and not self._postponed(verb.stem):
            self._theme(chunk)
        elif following.kind == PRON and not self.fronted:
            self.at += 1
            self._unread(f"{chunk.word} {following.word}", verb.stem)
            self.after = PRON
            self.role = THEME
            self.group = list(actor)
        elif verb.stem not in POSTURES or chunk.relation is not None:
            # an action of its own is a property ("a running dog"), no second thing
            self._property(chunk, actor)

    def _passive(self, stem: str, following: Chunk) -> bool:
        """ "A dog chased by a cat": the cat acts, which says nothing of where it is."""
        by = following.kind == REL and following.relation is not None
        return by and following.word == "by" and stem not in POSTURES and self._next(1).kind == NP

    def _postponed(self, stem: str) -> bool:
        """ "In the corner stands a lamp": the subject follows its verb."""
        return bool(self.pending_place) and not self.subject and stem in POSTURES

    def _property(self, chunk: Chunk, actor: list[int]) -> None:
        verb = chunk.verb
        assert verb is not None
        if chunk.relation is not None:
            self._unread(chunk.word, verb.stem)
        elif actor and self.part:
            self.things.unparsed.append(f"one {chunk.word}")
        elif actor:
            self.things.describe(actor, None, (chunk.word,))

    def _unread(self, words: str, stem: str) -> None:
        if stem not in LIGHT:
            self.things.unparsed.append(words)

    def _takes(self, relation: RelationPhrase, following: Chunk) -> bool:
        if not relation.takes_object:
            return True
        return following.kind in (NP, PRON)

    def _verb_subject(self, chunk: Chunk) -> list[int]:
        verb = chunk.verb
        assert verb is not None
        after = self.after
        if after == COP:
            return self.actor
        if self.relative is not None and after in (THAT, NP, SUB):
            actor, self.relative = self.relative, None
            return actor
        if after in (AND, COMMA, SUB):
            if after == COMMA and verb.form == "ing":
                return self.subject or self.group
            if verb.form == "finite":
                return self.subject or self.actor
            return self.actor or self.subject
        if verb.form == "finite" or chunk.word in _FINITE_PAST:
            return self.subject or self.group
        if after in (NP, PRON, FRAME, ADJP, TEXT):
            return self._participle_subject(verb.stem, verb.form)
        return self.actor or self.subject

    def _participle_subject(self, stem: str, form: str) -> list[int]:
        """Whom a participle behind a noun phrase speaks of."""
        things, group = self.things, self.group
        if self.role == SUBJECT or not group:
            return group or self.subject
        earlier = self.related if self.role in (GROUND,) else self.actor
        if self.role == OWNED:
            earlier = self.host
            if all(things.heads[index] in PARTS for index in group):
                return earlier or group
        if self.role == THEME:
            earlier = self.actor
        moves = any(things.heads[index] in VEHICLES for index in group)
        acts = stem in AGENTIVE or (form == "ing" and stem not in POSTURES and not moves)
        if acts and not things.animate(group):
            if things.animate(earlier):
                return earlier
            if things.animate(self.subject):
                return self.subject
        clothed = all(things.heads[i] in CLOTHING or things.heads[i] in BODY_PARTS for i in group)
        return earlier if clothed and earlier else group

    def _theme(self, chunk: Chunk) -> None:
        """What a verb without a relation of its own acts on."""
        verb = chunk.verb
        assert verb is not None
        first = self.at
        following = self.chunks[first]
        assert following.phrase is not None
        phrases, self.at = self._span(first, THEME)
        found = self._objects(phrases, THEME, self.actor)
        self.shines = not found and head_of(phrases[0].spec.name) in _LIGHTS
        if found:
            if self.actor:
                self._unread(chunk.word, verb.stem)
        elif self.actor and verb.stem not in POSTURES:
            words = f"{chunk.word} {phrases[0].spec.name}"
            self.things.describe(self.actor, None, (words,))
        self.group = found
        self.role = THEME
        self.after = NP

    def _copula(self, chunk: Chunk) -> None:
        if self.relative is not None:
            self.actor, self.relative = self.relative, None
        elif self.after == PRON:
            self.actor = self.group
        elif self.fronted:
            self.actor = []
        else:
            self.actor = self.subject or self.group
            self.finite = True
        self.after = COP

    def _not(self, chunk: Chunk) -> None:
        self.negated = True
        if self.after != COP:
            self.after = NOT
            if self._next().kind not in (NP, REL, VERB, PREP, ADJP):
                self.things.unparsed.append("not")
                self.negated = False
        following = self._next()
        told = following.kind == VERB and following.relation is not None
        if not told and following.kind in (VERB, ADJP, PREP) and self._kind(self.at + 1) != REL:
            # an action that is denied is nothing that can be looked for
            self.things.unparsed.append(f"not {self._next().word}")
            self.negated = False
            if self._next().kind == ADJP:
                self.at += 1

    def _adjectives(self, chunk: Chunk) -> None:
        """Adjectives behind "is", or behind a noun phrase."""
        if self.after in (COMMA, STOP) and chunk.word.rpartition(" ")[2] in STYLE_WORDS:
            return
        color: str | None = None
        attributes: list[str] = []
        for word in chunk.word.split():
            if word in COLORS and color is None:
                color = "gray" if word == "grey" else word
            elif not classes(word) & ADVERB or word in COLORS:
                attributes.append(word)
        says = self.after in (COP, VERB, AND, COMMA, ADJP)
        if not says:
            self.actor = self.group
        target = self.actor
        if self.part:
            self.things.unparsed.append(f"one {chunk.word}")
        elif self.negated:
            self.things.unparsed.append(f"not {chunk.word}")
            self.negated = False
        elif target and self.after != STOP:
            self.things.describe(target, color, tuple(attributes))
        self.after = ADJP

    def _that(self, chunk: Chunk) -> None:
        group = self.group
        if chunk.word in ("who", "whom") and not self.things.animate(group):
            for earlier in (self.related, self.subject):
                if self.things.animate(earlier):
                    group = earlier
                    break
        self.relative = list(group)
        self.after = THAT

    def _sub(self, chunk: Chunk) -> None:
        self.after = SUB
        self.relative = None
        self.owning = False
