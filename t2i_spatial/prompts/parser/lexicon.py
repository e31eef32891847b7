"""The words that the parser knows. Nouns are open: any other word may be one."""

from __future__ import annotations

from t2i_spatial.prompts.words import word_set

_ONE_TO_TWENTY = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {
    ten if one == 0 else f"{ten}-{unit}": tens * 10 + one
    for tens, ten in enumerate(_TENS_WORDS.split(), 2)
    for one, unit in enumerate(["", *_ONE_TO_TWENTY.split()[:9]])
}
NUMBERS: dict[str, int] = (
    {word: value for value, word in enumerate(_ONE_TO_TWENTY.split(), 1)}
    | _TENS
    | {
        "single": 1,
        "no": 0,
        "zero": 0,
        "dozen": 12,
        "both": 2,
        "lone": 1,
    }
)

OPEN_NUMBERS = word_set("several many multiple some numerous various few these those")
"""More than one, nobody says how many."""

SINGULAR_DETERMINERS = word_set("a an another each every")
DETERMINERS = SINGULAR_DETERMINERS | word_set("the this that its his her their my your")

GROUPS = word_set(
    "group bunch herd flock pile stack row set collection crowd number variety lot lots pack "
    "school swarm cluster handful array series line heap team family couple pair dozen"
)
"""Group nouns: "a GROUP of N" asks for Ns, how many is open (a couple or pair: two)."""

CONTAINERS = word_set(
    "glass cup bowl bottle slice piece plate vase basket box can jar loaf mug pot bag tray bucket "
    "carton pitcher sack sheet roll bouquet block tub tube pack packet crate barrel bar"
)
""" "A CONTAINER of N" is one object of that whole name."""

COLORS = word_set(
    "red orange yellow green blue purple pink brown black white gray grey beige turquoise cyan "
    "magenta maroon violet indigo teal navy golden silver gold bronze copper tan cream crimson "
    "scarlet lavender lime olive ivory khaki burgundy mauve peach coral amber aqua salmon ebony "
    "colorless multicolored rainbow"
)
COLOR_NOUNS = word_set(
    "orange peach salmon lime olive lavender violet gold silver bronze copper cream coral amber "
    "rainbow"
)
"""Colours that are things when nothing follows them."""
SHADES = word_set("light dark bright pale deep vivid vibrant neon pastel")

MATERIALS = word_set(
    "wooden wood metal metallic plastic glass leather rubber fabric stone brick concrete ceramic "
    "porcelain marble steel iron paper cardboard cotton wool woolen woollen silk velvet denim clay "
    "crystal wicker bamboo straw stainless granite aluminum aluminium brass chrome linen suede "
    "fleece knitted furry tin"
)
MATERIAL_NOUNS = word_set(
    "glass paper stone brick metal plastic leather cardboard crystal straw bamboo iron tin marble "
    "concrete fabric denim steel wood clay"
)

_OTHER_ADJECTIVES = (
    # size and shape
    "big small large little tiny huge giant enormous gigantic massive tall short long wide narrow "
    "thick thin slim slender fat chubby round square rectangular circular oval "
    "triangular spherical "
    "cubic cubical cylindrical conical curved flat straight pointed pointy oblong hexagonal "
    "octagonal pentagonal diamond-shaped pyramidal spiral crescent teardrop cube-shaped miniature "
    "mini oversized medium compact bulky "
    # texture and state
    "soft hard fluffy smooth rough shiny glossy matte fuzzy furry hairy curly wavy silky woolly "
    "fleecy spiky bumpy sticky slippery wet dry dirty clean dusty rusty muddy broken cracked empty "
    "full open closed warm cold hot cool frozen fresh ripe juicy rotten raw bare sharp blunt heavy "
    "lightweight transparent translucent opaque foggy cloudy sunny snowy rainy sandy rocky grassy "
    "leafy floral plaid polka-dot checkered striped spotted patterned plain "
    # age, look, mood
    "old new young ancient modern vintage antique rustic retro classic elderly adult beautiful "
    "pretty cute ugly lovely elegant fancy ornate simple cozy comfortable comfy happy sad angry "
    "sleepy tired lazy playful curious brave friendly calm quiet noisy busy hungry scary creepy "
    "mysterious magical majestic graceful adorable handsome lively gentle fierce wild tame stray "
    "domestic sleek stylish colorful colourful bright dark pale vibrant different "
    "similar identical "
    "same other lonely delicious tasty sweet sour spicy real realistic tropical electric "
    "electronic digital analog antique classical traditional minimalist standard "
    "upright tidy messy "
    "low high dull vivid sturdy delicate intricate crisp crispy crunchy "
    "lush rugged dense sheer stiff "
    "firm flexible bold serene tranquil tangy tart savory bitter salty "
    "steep dim distant faint loud "
    "quick slow fast strong weak hazy misty murky icy frosty thorny "
    "velvety leathery rubbery glassy "
    "wrinkly creamy greasy oily chewy flaky foamy frothy luxurious lavish grand stunning gorgeous "
    "peaceful stormy windy warm-toned brilliant radiant pristine sparse "
    "damp moist solid hollow loose "
    "tight deep shallow blurry "
    "unusual typical giant-sized hardback leafless "
)
ADJECTIVES = frozenset(_OTHER_ADJECTIVES.split()) | MATERIALS | SHADES | frozenset(["hardcover"])

_COMPOUNDS = (
    "hot dog,potted plant,teddy bear,polar bear,orange juice,parking meter,"
    "dining table,cutting board,washing machine,sewing machine,swimming pool,shopping cart,"
    "shopping bag,shopping basket,rocking chair,fishing rod,fishing boat,"
    "sleeping bag,ironing board,"
    "vending machine,running shoe,frying pan,rolling pin,measuring cup,measuring tape,boxing glove,"
    "hiking boot,racing car,living room,dining room,dining chair,stuffed animal,stuffed bear,"
    "stuffed toy,hard hat,hard drive,glass bottle cap,paper towel,paper clip,paper bag,paper plane,"
    "paper airplane,tin can,flat screen,high chair,high heel,top hat,french fry,sweet potato,"
    "red panda,red wine,white wine,blue jay,green bean,green onion,"
    "bell pepper,soft drink,soft toy,toilet paper,wet suit,dry erase board,ice cream,open sign,"
    "stone bridge,straw hat,fire hydrant,stop sign,traffic light,wine glass,sports ball,"
    "sports car,baseball bat,baseball glove,tennis racket,cell phone,hair drier,rubber duck,"
    "coffee table,coffee cup,coffee mug,computer mouse,computer keyboard,tv remote,"
    "wedding cake,wedding ring,wedding dress,walking stick,baked potato,fried egg,boiled egg,"
    "fried rice,fried chicken,mashed potato,grilled cheese,bald eagle,golden retriever,guinea pig,"
    "big ben,big wheel,long board,wild boar,wild horse,mini fridge,electric guitar,electric fan,"
    "electric kettle,lounge chair,reading lamp,reading glasses,drinking glass,drinking fountain,"
    "mixing bowl,serving tray,hanging lamp,hanging plant,diving board,bathing suit,climbing frame,"
    "dressing table,changing table,building block,knitting needle,playing card,chopping board,"
    "tape measure,glass door"
)
COMPOUNDS = frozenset(_COMPOUNDS.split(","))
"""Nouns of several words that begin with what looks like an adjective or a verb (singular)."""

ED_NOUNS = word_set("bed shed sled seed weed reed steed breed feed red need toolshed")
ING_NOUNS = word_set(
    "painting building ring king string wing ceiling swing clothing railing sibling earring awning "
    "duckling dumpling wedding pudding thing spring sling evening morning drawing carving "
    "keyring sapling seedling gosling lightning herring starling bling stuffing topping icing "
    "frosting parking dining ping-pong fencing crossing landing siding flooring bedding "
    "meeting gathering"
)
LY_NOUNS = word_set(
    "fly butterfly dragonfly firefly belly jelly lily family bully assembly ally "
    "doily dolly pulley "
    "lovely ugly silly smelly curly woolly friendly lively lonely hilly bubbly cuddly early only "
    "elderly wooly holy trolly monopoly barfly potbelly"
)

COPULAS = word_set("is are was were be being been")
POSTURES = word_set(
    "sitting sits sat sit standing stands stood stand lying lies lay lie laying lays laid resting "
    "rests rested rest placed located positioned situated seated perched perches perching parked "
    "hanging hangs hung hang found seen visible shown set leaning leans leaned floating floats "
    "floated hovering hovers hovered kept stays stay stayed remains appears appear stacked "
    "arranged displayed mounted depicted pictured put lined"
)
"""Verbs that add no relation of their own and may be dropped."""

_VERB_STEMS = (
    "sit stand lie rest lean hang float fly run walk chase hold ride wear eat drink "
    "look watch play "
    "sleep jump swim sing dance read write cook throw catch kick hit carry push pull face hug kiss "
    "follow lead drive pour cut paint draw talk chat laugh smile cry bark graze climb fall grow "
    "bloom shine glow burn move roll slide slip crawl leap hop gallop race sail soar glide perch "
    "hover wait gather surround cover fill decorate contain feature sniff lick bite "
    "drag lift touch "
    "grab reach point wave bow kneel crouch stare gaze peek hide nap snore buzz hum ring sparkle "
    "roam rumble snort scurry dart cluck croak amplify clutter attract make share enjoy explore "
    "light keep bring take give show use try work rise set come go"
)
_IRREGULAR_PAST = (
    "sat stood lay laid flew ran held rode wore ate drank slept swam sang wrote threw caught hit "
    "drove cut drew grew fell shone rose came went took gave made kept brought lit rang hung led "
    "built sold bought broke spoke spun swung stuck struck hid bit met lost won fought taught "
    "thought felt left sent spent bent crept leapt dreamt knelt dug sank sprang stole swept wept "
    "woke wound blew froze chose began became knew saw put shot split spread told got did had "
    "lined"
)


def _verb_forms() -> tuple[frozenset[str], frozenset[str]]:
    forms = set(_IRREGULAR_PAST.split())
    bases = set(_VERB_STEMS.split())
    for stem in bases:
        forms.add(stem + ("es" if stem.endswith(("s", "sh", "ch", "x", "o")) else "s"))
        if stem.endswith("y") and stem[-2] not in "aeiou":
            forms.add(stem[:-1] + "ies")
    return frozenset(forms), frozenset(bases)


FINITE_VERBS, BASE_VERBS = _verb_forms()
"""Past and third-person forms; base forms (verbs only after a plural)."""

CONJUNCTIONS = frozenset(["and", "&", "plus"])
RELATIVES = word_set("that which who whose where while whereas as")
INTENSIFIERS = word_set(
    "directly slightly just immediately partially partly completely somewhat diagonally "
    "positioned exactly mostly fully right very quite also still clearly"
)
OTHER_PREPOSITIONS = word_set(
    "for around across along through against at from up down off out toward towards past during "
    "amid among amongst outside opposite throughout than like of to via per despite about onto "
    "into after before until since"
)
TAKES_NO_OBJECT = word_set("for during like as since until despite about")
"""After these a noun phrase is no thing that must be seen."""

NOT_THINGS = word_set(
    "wind air distance background foreground sunlight sunshine daylight moonlight rain dark "
    "darkness shade motion flight style detail focus sale line row circle unison harmony formation "
    "picnic meeting night day daytime morning evening afternoon time way fun action front "
    "back top bottom side middle center centre corner left right edge spring summer autumn winter "
    "sunset sunrise dawn dusk silence peace moment color colour world fashion manner "
    "view image picture photo photograph scene frame shot"
)
"""Heads of phrases that name no object ("in the distance", "on the side")."""

IMAGE_WORDS = word_set(
    "photo photograph image picture painting drawing sketch illustration rendering render shot "
    "closeup close-up portrait snapshot watercolor watercolour cartoon scene view depiction "
    "artwork print poster photorealistic rendition"
)
THE_PICTURE = word_set("image picture photo photograph frame scene canvas shot")

STYLE_WORDS = word_set(
    "detailed 4k 8k hd uhd hdr photorealistic hyperrealistic realistic realism style styled "
    "lighting resolution artstation quality render rendered cinematic masterpiece photography "
    "bokeh studio sharp focus depth dof trending octane unreal engine illustration concept art "
    "artwork anime digital high-resolution ultra-realistic minimalist lens mm 35mm 50mm "
    "dslr award-winning aesthetic hyper-realistic high-quality"
)

FRAME_WORDS: dict[str, str] = {
    "top": "top",
    "upper": "top",
    "bottom": "bottom",
    "lower": "bottom",
    "left": "left",
    "right": "right",
    "left-hand": "left",
    "right-hand": "right",
    "top-left": "top left",
    "top-right": "top right",
    "bottom-left": "bottom left",
    "bottom-right": "bottom right",
    "upper-left": "top left",
    "upper-right": "top right",
    "lower-left": "bottom left",
    "lower-right": "bottom right",
    "center": "center",
    "centre": "center",
    "middle": "center",
    "central": "center",
    "background": "background",
    "foreground": "foreground",
}
FRAME_PARTS = word_set("corner side part half edge area third section hand portion region quadrant")
