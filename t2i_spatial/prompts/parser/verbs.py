"""Verbs of captions: their forms, and what some of them say about who stands where."""

from __future__ import annotations

from t2i_spatial.prompts.words import word_set

_REGULAR = (
    "sit stand lie rest lean hang float fly run walk chase hold ride wear eat drink look watch "
    "play sleep jump swim sing dance read write cook throw catch kick hit carry push pull face hug "
    "kiss follow lead drive pour cut paint draw talk chat laugh smile cry bark graze climb fall "
    "grow bloom shine glow burn move roll slide slip crawl leap hop gallop race sail soar glide "
    "perch hover wait gather surround cover fill decorate contain feature sniff lick bite drag "
    "lift touch grab reach point wave bow kneel crouch stare gaze peek hide nap snore buzz hum "
    "ring sparkle roam rumble snort scurry dart cluck croak amplify clutter attract make share "
    "enjoy explore light keep bring take give show use try work rise set come go lay put place "
    "park locate position situate seat mount attach fasten tie stack pile arrange organize "
    "organise display line scatter spread sprinkle drape fold wrap tuck nestle suspend dangle "
    "swing spin turn twist bend stretch extend tower loom overlook stay remain appear seem depict "
    "illustrate portray picture see find notice observe visit travel drift flow pass cross enter "
    "leave exit approach head stop start begin end finish open close lock break crack smash "
    "shatter melt freeze boil steam fry bake grill roast slice chop peel mix stir serve feed wash "
    "clean wipe brush comb dry soak splash spray drip leak rain snow blow shake tremble shiver "
    "prepare build create form cause allow help offer hand receive accept buy sell pay pick drop "
    "toss pitch bat swat strike punch fight wrestle attack defend protect guard shoot aim fire "
    "hunt fish trap dig plant water mow rake sweep vacuum iron sew knit weave type text call phone "
    "listen hear speak say tell ask answer shout scream yell whisper whistle howl growl roar meow "
    "purr moo bleat chirp quack flap flutter nibble chew swallow taste smell feel stroke pet pat "
    "cuddle embrace squeeze press tap knock rub scratch polish meditate pray study learn teach "
    "train practice practise exercise skate ski surf skateboard snowboard sled cycle bike row "
    "paddle dive wade bathe relax lounge recline slouch squat balance juggle perform act pose "
    "model admire inspect examine check measure weigh compete win lose score cast reflect shimmer "
    "twinkle glisten gleam flicker blaze obscure block occlude conceal reveal expose overlap "
    "intersect connect join link separate divide split frame border fence flank accompany contrast "
    "complement match fit suit resemble represent symbolize convey evoke suggest emphasize "
    "highlight enhance add lend illuminate dominate occupy inhabit live exist belong become "
    "include consist lower raise tilt tip topple lodge embed hook pin tape glue stick plug hurl "
    "fling swirl whirl orbit circle emerge protrude stroll step nod wag swish stalk prowl slither "
    "pounce trample plow tread wander march jog sprint rush stride trot strut waddle hike trek "
    "sketch photograph film record capture snap gesture clap cheer celebrate greet meet marry "
    "argue converse discuss interact engage operate steer control pilot navigate load unload ship "
    "deliver transport haul tow fetch retrieve collect store pack unpack sort don sport adorn "
    "dress garnish top stuff litter dot coat dust sprawl curl snuggle huddle cluster crowd "
    "assemble adjust steady hoist clutch grip grasp cradle clasp pedal blend merge fade loop trail "
    "tug nudge poke prod tickle tease scold herd shepherd milk saddle groom trim shear shave sip "
    "gulp slurp devour munch gnaw peck feast dine picnic cruise taxi land depart arrive peer "
    "glance glare squint wink blink frown grin smirk yawn sneeze cough breathe flaunt boast exude "
    "radiate emit project support prop sustain stem sprout blossom wilt wither rot decay age rust "
    "crumble collapse erupt explode burst crash collide bump fascinate amaze stun please"
)
_IRREGULAR = (
    "sat stood lay laid lain flew flown ran held rode ridden wore worn ate eaten drank slept swam "
    "sang wrote written threw thrown caught hit drove driven cut drew drawn grew grown fell fallen "
    "shone rose risen came went gone took taken gave given made kept brought lit rang hung led "
    "built sold bought broke broken spoke spoken spun swung stuck struck hid hidden bit bitten met "
    "lost won fought taught thought left sent spent bent crept leapt dreamt knelt dug sank sunk "
    "sprang stole stolen swept wept woke woken wound blew blown froze frozen chose chosen began "
    "became knew known saw seen put split spread told got did done had shown set leant shaken "
    "sewn woven torn fed sped slid clung flung ground hewn strewn"
)
_DOUBLING = word_set(
    "sit run cut set put swim hug nap grab hop drag chat slip stop spin win dig hit bat swat flap "
    "chop stir mix plan trap pat pet clap jog skip hum tap rub drop snap pin tip cast trot strut "
    "sip top dot tug prod knit split fit shop wrap step let get wed bob sob tan trim don sled"
)
_VOWELS = "aeiou"


def _s_form(stem: str) -> str:
    if stem.endswith(("s", "sh", "ch", "x", "z", "o")):
        return stem + "es"
    if stem.endswith("y") and stem[-2] not in _VOWELS:
        return stem[:-1] + "ies"
    return stem + "s"


def _stem(stem: str) -> str:
    return stem + stem[-1] if stem in _DOUBLING and stem not in ("mix", "cast") else stem


def _ing_form(stem: str) -> str:
    if stem.endswith("ie"):
        return stem[:-2] + "ying"
    if stem.endswith("e") and not stem.endswith(("ee", "oe", "ye")):
        return stem[:-1] + "ing"
    return _stem(stem) + "ing"


def _ed_form(stem: str) -> str:
    if stem.endswith("e"):
        return stem + "d"
    if stem.endswith("y") and stem[-2] not in _VOWELS:
        return stem[:-1] + "ied"
    return _stem(stem) + "ed"


BASE = frozenset(_REGULAR.split())
THIRD = {_s_form(stem): stem for stem in BASE}
PAST = dict.fromkeys(_IRREGULAR.split(), "") | {_ed_form(stem): stem for stem in BASE}
"""Past forms and past participles -> stem ("" where it does not matter)."""
GERUND = {_ing_form(stem): stem for stem in BASE}
PAST |= {"sat": "sit", "stood": "stand", "lay": "lie", "laid": "lay", "flew": "fly", "ran": "run",
         "held": "hold", "rode": "ride", "wore": "wear", "ate": "eat", "hung": "hang",
         "swam": "swim", "said": "say", "worn": "wear"}  # fmt: skip
GERUND |= {"lying": "lie", "laying": "lie"}

ALSO_NOUNS = word_set(
    "step crane beam walk run ride drink look watch play sleep jump swim dance cook throw catch "
    "kick hit push face hug kiss lead drive cut paint talk laugh smile cry bark climb fall bloom "
    "shine glow burn move roll slide slip leap hop race sail glide bow nap light show work rise "
    "place park position seat mount tie stack pile display line spread fold wrap swing spin turn "
    "twist bend stretch tower rest stand picture visit travel drift flow pass cross leave exit "
    "head stop start end finish lock break crack steam grill roast slice chop peel mix feed wash "
    "wipe brush comb spray leak rain snow blow shake build form help offer hand drop pitch bat "
    "strike punch fight attack guard shoot fire hunt fish trap plant water rake sweep vacuum iron "
    "type text call phone whisper whistle howl roar flap taste smell stroke pet pat press tap "
    "knock scratch polish study train practice exercise skate ski surf skateboard snowboard sled "
    "cycle bike row paddle dive balance act pose model check measure score cast block link divide "
    "split frame border fence  match fit suit tip hook pin tape plug circle orbit march "
    "jog sprint hike sketch photograph film record snap gesture cheer control pilot load ship "
    "store pack sort wear sport dress top litter dot coat dust cluster crowd grip loop trail blend "
    "herd shepherd milk saddle trim sip feast picnic cruise taxi land glance frown grin project "
    "support prop stem sprout blossom rot rust crash bump can fly saw float hold sprinkle lounge "
    "wave point reach touch bite lift bowl ring pedal age sand spring buzz hum curl"
)
"""Stems that are nouns as well."""

VERBISH_S = word_set(
    "sits stands hangs holds lies lays leans eats wears carries sleeps swims reads jumps faces "
    "rests walks looks plays rides runs floats watches flies hovers waits grazes leaps shows casts "
    "covers gazes stares perches kneels crouches soars drifts glides chases follows pulls pushes "
    "throws catches kicks touches points reaches peeks surrounds contains features has grows glows "
    "shines burns remains appears stays drives takes makes gives lights drinks"
)
"""Third persons that are rarely the plural of a noun: verbs behind a singular noun."""

POSTURES = word_set(
    "sit stand lie lay rest place locate position situate seat perch park hang find see show lean "
    "float hover keep stay remain appear stack arrange organize organise display mount depict "
    "picture put line suspend set nestle tuck scatter spread lodge drape pile portray fold "
    "illustrate be lounge recline tower loom wait live exist seem sprawl cluster huddle gather "
    "attach dangle balance prop fasten"
)
"""Verbs that only say that something is somewhere; they may be dropped."""

AGENTIVE = word_set(
    "sit stand walk run play ride hold wear eat drink watch look jump sleep read carry chase swim "
    "sing dance write cook throw catch kick push pull talk smile laugh climb kneel crouch stare "
    "gaze wave lie lay lounge drive paint draw bark graze sniff lick pose surf ski skate "
    "skateboard snowboard use feed pet hug kiss lean reach point stroll jog hike fly leap hop "
    "perch"
)
"""What people and animals do: behind a thing, such a participle speaks of the person before it."""

LIGHT = POSTURES | word_set(
    "create make give add form cast include get take become highlight enhance complement emphasize "
    "evoke convey reflect"
)
"""Verbs that say nothing of their own about their object."""
SAYING = word_set("say spell read write state")
"""Verbs behind which the text in the picture stands."""

HAVING = word_set("have has had having contains containing contain featuring features feature "
                  "showcasing displaying showing includes including")  # fmt: skip
MODALS = word_set(
    "can could will would should may might must do does did cannot shall let's let able being"
)
