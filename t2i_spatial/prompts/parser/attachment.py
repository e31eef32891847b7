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

import itertools
from collections.abc import Sequence
from dataclasses import replace

from t2i_spatial.prompts.parser.adjectives import COLORS
from t2i_spatial.prompts.parser.chunker import (
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
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase
from t2i_spatial.prompts.parser.nouns import (
    ANIMATE,
    BODY_PARTS,
    CLOTHING,
    DEPICTIONS,
    PERSONS,
    REGIONS,
    SCENE_NOUNS,
)
from t2i_spatial.prompts.parser.relation_phrases import RelationPhrase
from t2i_spatial.prompts.parser.verbs import AGENTIVE, POSTURES, SAYING
from t2i_spatial.prompts.parser.word_classes import ADVERB, classes
from t2i_spatial.scene import ObjectSpec

# what the last noun phrase was
SUBJECT, GROUND, THEME, OWNED, OTHER = range(5)
_END = Chunk(STOP, "")
_ON = RelationPhrase(("on",), "topped with", reversed=True)
_IN_WORN = RelationPhrase(("wearing",), "in")
_HANGS = frozenset(["painting", "picture", "photo", "photograph", "portrait", "poster", "print",
                    "drawing", "mural", "mosaic", "sketch", "icon", "logo", "sticker", "emoji",
                    "cover", "artwork", "meme", "comic"])  # fmt: skip
_OWNS = frozenset(["have", "has", "had", "having", "containing", "contains", "contain"])
_NESTING = frozenset(["in", "on"])


class SceneReader:
    """Reads the chunks of one prompt; the result stands in `things`."""

    def __init__(self, chunks: list[Chunk], quotes: Sequence[str]) -> None:
        self.chunks = chunks
        self.quotes = quotes
        self.things = Things()
        self.at = 0
        self.quoted = 0
        self.closes = _closing_lists(chunks)
        self.topic: list[int] = []
        self._clause()

    def _clause(self) -> None:
        """A new sentence."""
        self.subject: list[int] = []
        self.group: list[int] = []
        self.actor: list[int] = []
        self.relative: list[int] | None = None
        self.host: list[int] = []
        self.related: list[int] = []
        self.relation: RelationPhrase | None = None
        self.role = OTHER
        self.owning = False
        self.negated = False
        self.finite = False
        self.pending_place = ""
        self.place_done = False
        self.fronted: list[tuple[list[RelationPhrase], list[int]]] = []
        self.verb_words = ""
        self.after = STOP

    def read(self) -> Things:
        """Read all chunks."""
        chunks, count = self.chunks, len(self.chunks)
        handlers = _HANDLERS
        while self.at < count:
            chunk = chunks[self.at]
            self.at += 1
            handlers[chunk.kind](self, chunk)
        self._stop(_END)
        return self.things

    def _next(self, ahead: int = 0) -> Chunk:
        at = self.at + ahead
        return self.chunks[at] if at < len(self.chunks) else _END

    # -- noun phrases -------------------------------------------------------------------------

    def _span(self, first: int, role: int) -> tuple[list[NounPhrase], int]:
        """The coordinated noun phrases from chunk `first` on, and the index behind them."""
        chunks, count = self.chunks, len(self.chunks)
        phrases = [chunks[first].phrase]
        end = first + 1
        while end + 1 < count:
            kind, following = chunks[end].kind, chunks[end + 1]
            if kind in (AND, OR) and following.kind == NP:
                if not self._joins(end + 1, role, phrases):
                    break
                phrases.append(following.phrase)
                end += 2
            elif kind == COMMA and following.kind == NP and self.closes[end]:
                last = self.closes[end]
                if role in (GROUND, THEME) and self._has_own(last, role):
                    break
                if role == SUBJECT and self._numbered(first, last):
                    break
                phrases += [c.phrase for c in chunks[end + 1 : last + 1] if c.kind == NP]
                end = last + 1
                break
            elif kind == COMMA and following.kind == AND and end + 2 < count:
                if role != SUBJECT or chunks[end + 2].kind != NP or not self._plural_verb(end + 3):
                    break
                phrases.append(chunks[end + 2].phrase)
                end += 3
            else:
                break
        return [phrase for phrase in phrases if phrase is not None], end

    def _kind(self, at: int) -> int:
        return self.chunks[at].kind if at < len(self.chunks) else STOP

    def _plural_verb(self, at: int) -> bool:
        """Whether a verb for several subjects stands at `at`."""
        if at >= len(self.chunks):
            return False
        chunk = self.chunks[at]
        if chunk.kind == COP:
            return chunk.word in ("are", "were", "aren't", "weren't")
        return chunk.kind == VERB and chunk.verb is not None and chunk.word == chunk.verb.stem

    def _has_own(self, at: int, role: int) -> bool:
        """Whether the noun phrase at `at` has a predicate of its own."""
        kind = self._kind(at + 1)
        return kind in (COP, HAVE) or (kind in (VERB, REL, FRAME) and role == GROUND)

    def _numbered(self, first: int, last: int) -> bool:
        """ "Two cats, a dog, and three birds on a mat": only the birds are on it."""
        if self._kind(last + 1) != REL:
            return False
        phrases = (self.chunks[at].phrase for at in range(first, last + 1))
        return any(p is not None and p.article == "number" for p in phrases)

    def _joins(self, at: int, role: int, phrases: Sequence[NounPhrase | None]) -> bool:
        """Whether the noun phrase at `at`, behind "and", is part of the list."""
        if role == SUBJECT:
            return True
        phrase = self.chunks[at].phrase
        assert phrase is not None
        kind = self._kind(at + 1)
        animate = head_of(phrase.spec.name) in ANIMATE
        first = phrases[0]
        if role == GROUND:
            if kind in (REL, FRAME):
                return not phrase.article and phrase.spec.count is None
            if kind in (COP, VERB, HAVE):
                return False
            holds = self.relation is not None and set(self.relation.relations) & _NESTING
            if holds and animate and first is not None and phrase.article:
                # "a cat on a mat and a dog"
                return head_of(first.spec.name) in ANIMATE
            return True
        if kind == COP or (kind == VERB and self._finite(self.chunks[at + 1])):
            return not self.finite or role == OWNED and not animate
        if role == THEME:
            if kind in (VERB, REL, FRAME) and animate:
                return first is not None and head_of(first.spec.name) in ANIMATE
            return True
        if kind == REL:
            relation = self.chunks[at + 1].relation
            assert relation is not None
            return not (relation.pronoun and len(phrases) > 0 and self._own_before(at))
        return True

    def _own_before(self, at: int) -> bool:
        return self._kind(at - 2) == REL

    def _finite(self, chunk: Chunk) -> bool:
        return chunk.verb is not None and chunk.verb.form == "finite"

    def _objects(
        self, phrases: Sequence[NounPhrase], role: int, others: Sequence[int] = ()
    ) -> list[int]:
        found: list[int] = []
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
        if not phrase.thing:
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
        if head in SCENE_NOUNS and self._kind_of_picture(phrase, role):
            return []
        index = self.things.index(phrase, others)
        if part is not None and part.thing and head not in DEPICTIONS:
            self._object(part, OTHER, (*others, index))
        return [index]

    def _hangs(self, phrase: NounPhrase) -> bool:
        """Whether "a painting of a boat" is a thing in the picture and not the picture itself."""
        return (
            head_of(phrase.spec.name) in _HANGS
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
        return not phrase.article and kind in (STOP, COMMA)

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
        if not found and not phrases[-1].scene:
            self.verb_words = ""
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
            if chunk.kind == REL and chunk.relation is not None:
                return bool(chunk.relation.pronoun) or self._kind(ahead + 1) == PRON
        return False

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
                self._next().kind == COMMA
                and self._next(1).kind == OR
                and self._next(2).kind == NP
            ):
                self.at += 2
            else:
                break
        self.after = NP
        self.role = OTHER

    def _predicate_noun(self, chunk: Chunk) -> None:
        """ "The dog is a corgi": no second thing."""
        assert chunk.phrase is not None
        phrase = chunk.phrase
        name = phrase.spec.name
        head = head_of(name)
        if phrase.thing and head_of(self.things.objects[self.actor[0]].name) in (
            "one", "other", "object", "thing", "item",
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

    # -- verbs --------------------------------------------------------------------------------

    def _verb(self, chunk: Chunk) -> None:
        verb = chunk.verb
        assert verb is not None
        actor = self._verb_subject(chunk)
        self.actor = actor
        self.finite = self.finite or verb.form == "finite" or self.after == COP
        following = self._next()
        if verb.stem in SAYING and (following.kind == TEXT or verb.stem in ("say", "spell")):
            self.after = VERB
            self._said()
            return
        if chunk.relation is not None and self._takes(chunk.relation, following):
            self._relate(chunk.relation, actor)
            self.role = THEME if self.role == GROUND else self.role
            if self.role == THEME:
                self.host = actor
            return
        self.after = VERB
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

    def _postponed(self, stem: str) -> bool:
        """ "In the corner stands a lamp": the subject follows its verb."""
        return bool(self.pending_place) and not self.subject and stem in POSTURES

    def _property(self, chunk: Chunk, actor: list[int]) -> None:
        verb = chunk.verb
        assert verb is not None
        if chunk.relation is not None:
            self._unread(chunk.word, verb.stem)
        elif actor and verb.form in ("ing", "ed"):
            self.things.describe(actor, None, (chunk.word,))
        elif actor:
            self.things.describe(actor, None, (chunk.word,))

    def _unread(self, words: str, stem: str) -> None:
        if stem not in _LIGHT:
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
            return self._participle_subject(verb.stem)
        return self.actor or self.subject

    def _participle_subject(self, stem: str) -> list[int]:
        """Whom a participle behind a noun phrase speaks of."""
        things, group = self.things, self.group
        if self.role == SUBJECT or not group:
            return group or self.subject
        earlier = self.related if self.role in (GROUND,) else self.actor
        if self.role == OWNED:
            earlier = self.host
        if self.role == THEME:
            earlier = self.actor
        if stem in AGENTIVE and not things.animate(group):
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
        if found:
            self._unread(chunk.word, verb.stem)
        elif self.actor and verb.stem not in POSTURES:
            words = f"{chunk.word} {phrases[0].spec.name}"
            self.things.describe(self.actor, None, (words,))
        self.group = found
        self.role = THEME
        self.after = NP

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
        if self._next().kind != TEXT or head_of(phrase.spec.name) not in _WRITTEN:
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

    def _text(self, chunk: Chunk) -> None:
        index = self._write(self._quoted())
        if self.after in (WITH, NP, VERB, REL, TEXT, STOP, COMMA, AND, COP):
            self.after = TEXT
        if self.role == OTHER or not self.group:
            self.group = [index]

    # -- relations ----------------------------------------------------------------------------

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
            return self.actor if self.actor else self.group
        if self.role == OWNED:
            heads = [self.things.heads[index] for index in self.group]
            if not heads or all(head in CLOTHING or head in BODY_PARTS for head in heads):
                return self.host or self.subject
            return self.group
        if self.role == OTHER and self.related:
            return self.related
        return self.group or self.subject

    def _behind_ground(self, chunk: Chunk) -> list[int]:
        """ "A cup on a table ...": of the cup or of the table?"""
        before, now = self.relation, chunk.relation
        if self.owning and self.host and self.related and self.group == self.host:
            return self.subject or self.host
        if before is None or now is None or not self.related or not self.group:
            return self.related or self.group
        inside = before.relations and before.relations[0] == "in"
        heads = [self.things.heads[index] for index in self.group]
        if inside and not any(head in REGIONS for head in heads):
            if not any(head in CLOTHING or head in BODY_PARTS for head in heads):
                return self.group
        if before.relations == now.relations and set(now.relations) & _NESTING:
            return self.group
        return self.related

    def _relate(
        self,
        relation: RelationPhrase,
        subjects: list[int],
        relations: list[RelationPhrase] | None = None,
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
            phrases, end = self._span(self.at, GROUND)
            if self._garment(relation, phrases, subjects):
                relations = [_IN_WORN]
            self.at = end
            grounds = self._objects(phrases, GROUND, subjects)
            if not grounds:
                self._nowhere(relation, subjects)
                return
            if self._is_frame_only(relations, phrases):
                return
        elif following.kind == PRON:
            self.at += 1
            if following.word == "each-other":
                self._alone(relation, subjects, negated)
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
        if relation.relations == ("surrounding",) and relation.text == "around" and all(
            self.things.objects[index].count == 1 for index in subjects
        ):
            self.things.unparsed.append("around")
        else:
            for phrase in relations:
                self.things.relate(subjects, phrase, grounds, negated)
        self._related_to(subjects, grounds)

    def _is_frame_only(
        self, relations: list[RelationPhrase], phrases: Sequence[NounPhrase]
    ) -> bool:
        return False

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
        """ "Next to each other": between neighbours of a coordinated group, where there is one."""
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
            elif kind in (COP, THERE) and self.topic:
                grounds = self.topic
                subjects = []
            elif self.things.objects and self.after == NP and self.subject == subjects and (
                self.topic and self.topic != subjects and self.role == SUBJECT
            ):
                grounds = self.topic
        side = {"left of": "left", "right of": "right"}.get(
            relation.relations[0] if relation.relations else ""
        )
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
        elif subjects or self.after != STOP:
            if relation.text not in ("around", "on the side") and self.after != VERB:
                self.things.unparsed.append(relation.text)
        self.after = FRAME
        if self.role == GROUND:
            self.role = GROUND

    def _resolve(self, word: str, subjects: Sequence[int]) -> list[int]:
        """What a pronoun in the object of a relation speaks of."""
        word = {"himself": "him", "herself": "her", "themselves": "them"}.get(word, word)
        preferred: list[Sequence[int]] = []
        if self.owning and self.host:
            preferred.append(self.host)
        if self.after == COMMA or not self.owning:
            preferred += [self.group if self.group != subjects else (), self.related]
        preferred += [self.subject, self.topic]
        if len(subjects) and self.subject == list(subjects):
            grounds = [r.object for r in self.things.relations[-4:] if r.object not in subjects]
            preferred.insert(0, grounds[-1:])
        return self.things.pronoun(word, preferred, subjects)

    # -- the rest -----------------------------------------------------------------------------

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
            self.actor = []
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
            phrases, self.at = self._span(self.at, GROUND)
            found = self._objects(phrases, GROUND, host)
            if found and host:
                self.things.relate(host, _ON, found)
            self.group, self.role, self.after, self.host = found, OWNED, NP, host
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
            word in TAKES_NO_OBJECT or word == "for"
        ) and following.phrase.article in ("", "the" if word != "to" else ""):
            self._consume(following)
            if word in ("made-of", "shaped-like") and subject:
                said = f"{plain} {following.phrase.spec.name}"
                self.things.describe(subject, None, (said,))
            self.after = NP
            return
        phrases, self.at = self._span(self.at - 1, GROUND)
        found = self._objects(phrases, GROUND if word != "full-of" else OWNED, subject)
        if found and word not in ("full-of", "decorated-with"):
            names = self.things.objects[found[0]].name
            self.things.unparsed.append(f"{plain} {names}")
        if not subject and self.after == STOP:
            self.group, self.role = [], OTHER
        else:
            self.related = subject
            self.group = found or list(subject)
            self.role = GROUND if found else SUBJECT
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
        if have and chunk.word in ("has", "have", "had", "contains", "contain", "features"):
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
        elif self.role == GROUND and self.things.animate(self.related) and not self.things.animate(
            self.group
        ):
            self.host = self._pick_host()
        elif self.role == THEME:
            self.host = self.actor or self.group
        else:
            self.host = self.group or self.subject
        self.owning = True
        self.after = WITH
        following = self._next()
        if following.kind != NP:
            return
        if self._next(1).kind == TEXT and following.phrase is not None and head_of(
            following.phrase.spec.name
        ) in _WRITTEN:
            return
        phrases, end = self._span(self.at, OWNED)
        self.at = end
        self._own(phrases)

    def _pick_host(self) -> list[int]:
        """ "A cat on a bed with a blanket on it": what "it" fits decides."""
        for ahead in range(self.at, min(self.at + 6, len(self.chunks))):
            chunk = self.chunks[ahead]
            if chunk.kind in (STOP, COMMA):
                break
            if chunk.kind == PRON or (chunk.relation is not None and chunk.relation.pronoun):
                return self.group
        return self.group

    def _own(self, phrases: Sequence[NounPhrase]) -> None:
        found = self._objects(phrases, OWNED, self.host)
        for phrase in phrases:
            if head_of(phrase.spec.name) in BODY_PARTS and self.host and phrase.thing:
                said = " ".join(
                    ["with", *phrase.spec.attributes, *([phrase.spec.color] if phrase.spec.color
                                                       else []), phrase.spec.name]
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
            following = self._next().kind
            if following not in (NP, REL, VERB, PREP, ADJP):
                self.things.unparsed.append("not")
                self.negated = False
        if self._next().kind in (VERB, ADJP, PREP) and self._kind(self.at + 1) != REL:
            # an action that is denied is nothing that can be looked for
            self.things.unparsed.append(f"not {self._next().word}")
            self.negated = False
            if self._next().kind == ADJP:
                self.at += 1

    def _and(self, chunk: Chunk) -> None:
        if chunk.kind == OR:
            self.things.unparsed.append("or")
        self.after = COMMA if self.after == COMMA and chunk.kind == AND and (
            self._next().kind == NP
        ) else AND

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

    def _pronoun(self, chunk: Chunk) -> None:
        """A pronoun as a subject."""
        if chunk.word == "each-other":
            return
        kind = self._next().kind
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

    def _adjectives(self, chunk: Chunk) -> None:
        """Adjectives behind "is", or behind a noun phrase."""
        color: str | None = None
        attributes: list[str] = []
        for word in chunk.word.split():
            if word in COLORS and color is None:
                color = "gray" if word == "grey" else word
            elif not classes(word) & ADVERB or word in COLORS:
                attributes.append(word)
        if self.after in (COP, VERB, AND, COMMA, ADJP):
            target = self.actor
        else:
            target = self.group
        if self.negated:
            self.things.unparsed.append(f"not {chunk.word}")
            self.negated = False
        elif target and self.after != STOP:
            self.things.describe(target, color, tuple(attributes))
        self.after = ADJP


_LIGHT = POSTURES | AGENTIVE & frozenset(()) | frozenset(
    ["create", "make", "give", "add", "see", "show", "form", "cast", "include", "get", "take",
     "become", "highlight", "enhance", "complement", "emphasize", "evoke", "convey", "reflect"]
)  # fmt: skip
_FINITE_PAST = frozenset("sat stood lay flew ran swam ate rode fell rose hung slept wore".split())
_WRITTEN = frozenset(
    "word words text letter letters phrase message title label caption slogan sign inscription "
    "sentence quote number lettering name writing logo initial".split()
)
_CONSUMING = frozenset(["made-of", "in-style-of", "shaped-like", "as-if", "due-to", "like", "as",
                        "per", "via", "during", "since", "until", "despite", "unlike"])  # fmt: skip
_PLACING = frozenset(["at", "against", "across", "around", "through", "along", "past", "beyond"])


def _closing_lists(chunks: Sequence[Chunk]) -> list[int]:
    """For every comma that continues a list of noun phrases: the index of its last one, else 0.

    "A cup, a plate and a fork": the comma's list ends with the fork.
    """
    count = len(chunks)
    closes = [0] * (count + 4)
    kinds = [chunk.kind for chunk in chunks] + [STOP] * 4
    for at in range(count - 1, -1, -1):
        if kinds[at] != COMMA or kinds[at + 1] != NP:
            continue
        if kinds[at + 2] == AND and kinds[at + 3] == NP:
            closes[at] = at + 3
        elif kinds[at + 2] == COMMA and kinds[at + 3] == AND and kinds[at + 4] == NP:
            closes[at] = at + 4
        elif kinds[at + 2] == COMMA and kinds[at + 3] == NP:
            closes[at] = closes[at + 2]
    return closes


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
