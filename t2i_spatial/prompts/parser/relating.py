"""Relation phrases: to whom they belong, and what they relate it to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

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
    PRON,
    REL,
    STOP,
    SUB,
    TEXT,
    THAT,
    THERE,
    VERB,
    Chunk,
)
from t2i_spatial.prompts.parser.coreference import head_of
from t2i_spatial.prompts.parser.naming import Naming
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase
from t2i_spatial.prompts.parser.nouns import (
    BACKDROPS,
    BODY_PARTS,
    CLOTHING,
    CONTAINERS,
    PARTS,
    REGIONS,
)
from t2i_spatial.prompts.parser.reading_state import (
    GROUND,
    NESTING,
    OTHER,
    OWNED,
    SUBJECT,
    THEME,
)
from t2i_spatial.prompts.parser.relation_phrases import RelationPhrase
from t2i_spatial.prompts.parser.verbs import POSTURES
from t2i_spatial.prompts.words import word_set

_IN_WORN = RelationPhrase(("wearing",), "in")
_NO_VESSELS = REGIONS | CLOTHING | BODY_PARTS
_TOWARDS = word_set(
    "look stare gaze shout scream sing speak talk bite peer yell laugh cut chew turn hold "
    "transform blend fade bloom break"
)
"""Verbs whose "into" is no place."""
_VAGUE = word_set("nearby overhead around")
"""Without an object these say nothing of a thing named before."""
_SCRIPTS = word_set("letter lettering writing handwriting font ink chalk paint pencil crayon neon")
"""What something is written in: no place."""
_SIDES = {"left of": "left", "right of": "right"}


class Relating(Naming):
    """Attaches relation phrases."""

    def _relation(self, chunk: Chunk) -> None:
        assert chunk.relation is not None
        relations = [chunk.relation]
        while self._next().kind in (AND, OR, COMMA) and self._next(1).kind == REL:
            following = self._next(1).relation
            if following is None or relations[-1].pronoun or not relations[-1].takes_object:
                break
            relations.append(following)
            self.at += 2
        self._relate(relations[-1], self._anchor(chunk), relations)

    def _anchor(self, chunk: Chunk) -> list[int]:
        """What a relation phrase here speaks of."""
        after = self.after
        if after in (STOP, THERE, SUB):
            return []
        if after in (VERB, COP, ADJP, NOT, THAT):
            if after == THAT and self.relative is not None:
                actor, self.relative = self.relative, None
                return actor
            return self.actor
        if after == AND:
            return self.related or self.actor or self.subject
        if after == COMMA:
            return self.subject or self.group
        if self.role == GROUND:
            return self._behind_ground(chunk)
        if self.role == THEME:
            following = self._next().phrase
            hers = following is not None and following.article == "the"
            if hers and following is not None and head_of(following.spec.name) in BODY_PARTS:
                return self.group or self.actor  # "holding a donut in her hand"
            if chunk.word in ("into", "onto") and self.group:
                return self.group  # "pouring coffee into a cup"
            if chunk.word == "in" and following is not None and self.group:
                head = head_of(following.spec.name)
                if head not in _NO_VESSELS:
                    return self.group  # "watching a bird in a cage"
            return self.actor if self.actor else self.group
        if self.role == OWNED:
            heads = [self.things.heads[index] for index in self.group]
            if not heads or all(head in CLOTHING or head in BODY_PARTS for head in heads):
                return self.host or self.subject
            if self.host and self._of_host(chunk):
                return self.host
            return self.group
        if self.role == OTHER and self.related:
            return self.related
        return self.group or self.subject

    def _of_host(self, chunk: Chunk) -> bool:
        """ "A house with a red roof beside a river", "a girl with a kite on the beach"."""
        relation = chunk.relation
        following = self._next()
        if relation is None or relation.pronoun or following.kind != NP:
            return False
        if all(self.things.objects[index].name in PARTS for index in self.group):
            return True
        ground = following.phrase
        if ground is None or ground.possessive or not self.owned_directly:
            return False
        if self.things.animate(self.group) or head_of(ground.spec.name) in PARTS:
            return False
        holds = all(self.things.heads[index] in CONTAINERS for index in self.host)
        return holds or self.things.animate(self.host)

    def _behind_ground(self, chunk: Chunk) -> list[int]:
        """ "A cup on a table ...": of the cup or of the table?"""
        before, now = self.relation, chunk.relation
        if now is not None and now.text == "in" and self.things.animate(self.group):
            following = self._next().phrase
            if following is not None and head_of(following.spec.name) in CLOTHING:
                return self.group
        if self.owning and self.host and self.related and self.group == self.host:
            return self.subject or self.host
        if before is None or now is None or not self.related or not self.group:
            return self.related or self.group
        inside = before.relations and before.relations[0] == "in"
        heads = [self.things.heads[index] for index in self.group]
        if inside and not any(head in _NO_VESSELS for head in heads):
            return self.group
        if before.relations == now.relations and set(now.relations) & NESTING:
            return self.group
        return self.related

    def _relate(
        self,
        relation: RelationPhrase,
        subjects: list[int],
        relations: list[RelationPhrase] | None = None,
        role: int = GROUND,
    ) -> None:
        """Find the object of a relation phrase and relate it to the subjects."""
        relations = relations or [relation]
        negated, self.negated = self.negated, False
        following = self._next()
        before = self.after
        self.relation = relation
        if relation.pronoun:
            grounds = self._resolve(relation.pronoun, subjects)
        elif not relation.takes_object:
            self._alone(relation, subjects, negated)
            return
        elif following.kind == NP:
            phrases, end = self._span(self.at, role)
            if self._garment(relation, phrases, subjects):
                relations = [_IN_WORN]
            self.at = end
            leads = self._leads(subjects, before)
            written = relation.text == "in" and head_of(phrases[0].spec.name) in _SCRIPTS
            grounds = [] if written else self._objects(phrases, GROUND, () if leads else subjects)
            if not grounds:
                self._nowhere(relation, subjects)
                return
        elif following.kind == THAT and self.group:
            # "a box in which a cat is sleeping"
            self.at += 1
            self.fronted.append((relations, list(self.group)))
            self.group, self.role, self.after = [], OTHER, NP
            return
        elif following.kind == PRON:
            self.at += 1
            if following.word == "each-other":
                self._alone(relation, subjects, negated)
                return
            if following.word == "part":
                self._nowhere(relation, subjects)  # "holding onto the other"
                return
            grounds = self._resolve(following.word, subjects)
            if self._next().kind == AND and self._next(1).kind == NP and grounds:
                phrases, end = self._span(self.at + 1, GROUND)
                if self._kind(end) not in (COP, VERB, HAVE, REL):
                    self.at = end
                    grounds = grounds + self._objects(phrases, GROUND, [*subjects, *grounds])
        elif following.kind == TEXT and before != STOP:
            self.at += 1
            grounds = [self._write(self._quoted())]
        else:
            self._trailing(relation, subjects, negated)
            return
        if not grounds:
            self.things.unparsed.append(relation.text)
            self.after = NP
            self.role = OTHER
            return
        if self._leads(subjects, before):
            self.fronted.append((relations, grounds))
            self.group, self.role, self.after = [], OTHER, NP
            self.subject = []
            self.actor = []
            return
        if self.things.heads[grounds[0]] == "leash":
            self.things.describe(subjects, None, ("on a leash",))
        elif self.shines or self._loosely(relation, subjects):
            self.things.unparsed.append(relation.text)
        else:
            for phrase in relations:
                self.things.relate(subjects, phrase, grounds, negated)
        self._related_to(subjects, grounds)

    def _loosely(self, relation: RelationPhrase, subjects: list[int]) -> bool:
        """ "A dog running around a tree", "shouting into a microphone": no relation of places."""
        if relation.text == "around":
            moves = self.verb != "" and self.verb not in POSTURES
            return moves or all(self.things.objects[index].count == 1 for index in subjects)
        return relation.text in ("into", "onto") and self.verb in _TOWARDS

    def _related_to(self, subjects: list[int], grounds: list[int]) -> None:
        self.related = subjects
        self.group = grounds
        self.role = GROUND
        self.after = NP

    def _garment(
        self, relation: RelationPhrase, phrases: Sequence[NounPhrase], subjects: list[int]
    ) -> bool:
        """ "A man in a red shirt" wears it."""
        return (
            relation.text == "in"
            and bool(phrases)
            and all(head_of(phrase.spec.name) in CLOTHING for phrase in phrases)
            and bool(subjects)
            and self.things.animate(subjects)
        )

    def _nowhere(self, relation: RelationPhrase, subjects: list[int]) -> None:
        """The object of the relation is no thing ("in the distance")."""
        del relation
        self.after = NP
        if self.role == SUBJECT or not self.related:
            self.group = list(subjects) or self.group
            self.role = SUBJECT if self.group else OTHER

    def _leads(self, subjects: list[int], before: int) -> bool:
        """Whether the subject of the relation just read is yet to come."""
        if not subjects:
            return True
        if before not in (COMMA, AND, SUB, STOP):
            return False
        kind, following = self._next().kind, self._next(1)
        if kind == THERE:
            return True
        if kind == COP:
            return following.kind == NP and (
                following.phrase is not None and following.phrase.article != "the"
            )
        if kind == VERB and following.kind == NP and self._next().verb is not None:
            verb = self._next().verb
            return verb is not None and verb.stem in POSTURES and verb.form == "finite"
        return kind == NP

    def _alone(self, relation: RelationPhrase, subjects: list[int], negated: bool) -> None:
        """ "Next to each other": neighbours of a coordinated group, or several of one kind."""
        self.after = NP
        if not relation.relations:
            if subjects:
                self.things.describe(subjects, None, (relation.text,))
            return
        text = relation.text.replace("each-other", "each other")
        phrase = relation._replace(text=text)
        if len(subjects) > 1:
            for one, other in itertools.pairwise(subjects):
                self.things.add(one, phrase, other, negated)
        elif subjects and self.things.objects[subjects[0]].count != 1:
            self.things.add(subjects[0], phrase, subjects[0], negated)
        else:
            self.things.unparsed.append(text)
        self.related = subjects
        self.group = subjects
        self.role = SUBJECT

    def _trailing(self, relation: RelationPhrase, subjects: list[int], negated: bool) -> None:
        """A relation phrase without its object: "with a vase on top"."""
        grounds: list[int] = []
        kind = self._next().kind
        if relation.trails:
            if self.role == OWNED and self.host and subjects == self.group:
                grounds = self.host
            elif self.role == SUBJECT and len(subjects) > 1 and self.after == NP:
                subjects, grounds = subjects[1:], subjects[:1]
            elif self._known_before(relation):
                grounds = [index for index in self.earlier if index not in subjects]
            elif kind in (COP, THERE) and self.topic:
                grounds = self.topic
                subjects = []
        side = {"left of": "left", "right of": "right"}.get(
            relation.relations[0] if relation.relations else ""
        )
        if any(self.things.objects[index].text is not None for index in subjects):
            grounds = []  # "a word written on top": part of how it is written
        if grounds and grounds != subjects and not set(grounds) & set(subjects):
            if not subjects:
                self.fronted.append(([relation], list(grounds)))
                self.after = NP
                return
            self.things.relate(subjects, relation, grounds, negated)
            self._related_to(subjects, list(grounds))
            return
        if side and relation.trails:
            if subjects:
                self.things.place(side, subjects)
            else:
                self.pending_place = side
        elif relation.text not in ("around", "on the side") and self.after not in (VERB, STOP):
            self.things.unparsed.append(relation.text)
        self.after = FRAME

    def _known_before(self, relation: RelationPhrase) -> bool:
        """ "A man on a horse, trees behind": behind the man."""
        if self.role != SUBJECT or not self.earlier or self.after != NP:
            return False
        return relation.text not in _VAGUE and not _SIDES.keys() & set(relation.relations)

    def _resolve(self, word: str, subjects: Sequence[int]) -> list[int]:
        """What a pronoun in the object of a relation speaks of."""
        word = {"himself": "him", "herself": "her", "themselves": "them"}.get(word, word)
        preferred: list[Sequence[int]] = []
        if self.owning and self.host:
            relation = self.relation.relations if self.relation else ()
            heads = {self.things.heads[index] for index in self.host}
            if heads & BACKDROPS and "in" not in relation and self.related != self.host:
                # "a giraffe in a field with trees behind it"
                preferred.append(self.related)
            preferred.append(self.host)
        if self.after == COMMA or not self.owning:
            preferred += [self.group if self.group != subjects else (), self.related]
        preferred += [self.subject, self.topic]
        if len(subjects) and self.subject == list(subjects):
            last = [r for r in self.things.relations[-4:] if r.object not in subjects][-1:]
            backdrop = bool(last) and self.things.heads[last[0].object] in BACKDROPS
            preferred.insert(0, [r.subject if backdrop else r.object for r in last])
        if word == "them" and max(map(len, (self.host, self.subject, self.topic))) < 2:
            last = self.things.relations[-1:]
            both = [index for r in last for index in (r.subject, r.object)]
            if all(self.things.objects[index].count == 1 for index in both):
                preferred.insert(0, both)  # "a cube next to a ball, and a cone behind them"
        return self.things.pronoun(word, preferred, subjects)
