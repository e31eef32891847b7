"""Words that say how a thing looks: colours, materials, other adjectives; words of style; places
in the picture."""

from __future__ import annotations

from t2i_spatial.prompts.words import word_set

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
    "far near close opposite nearby "
    # size and shape
    "big small large little tiny huge giant enormous gigantic massive tall short long wide narrow "
    "thick thin slim slender fat chubby round square rectangular circular oval triangular "
    "spherical cubic cubical cylindrical conical curved flat straight pointed pointy oblong "
    "hexagonal octagonal pentagonal diamond-shaped pyramidal spiral crescent teardrop cube-shaped "
    "miniature mini oversized medium compact bulky "
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
    "domestic sleek stylish colorful colourful bright dark pale vibrant different similar "
    "identical same other lonely delicious tasty sweet sour spicy real realistic tropical electric "
    "electronic digital analog classical traditional minimalist standard upright tidy messy low "
    "high dull vivid sturdy delicate intricate crisp crispy crunchy lush rugged dense sheer stiff "
    "firm flexible bold serene tranquil tangy tart savory bitter salty steep dim distant faint "
    "loud quick slow fast strong weak hazy misty murky icy frosty thorny velvety leathery rubbery "
    "glassy wrinkly creamy greasy oily chewy flaky foamy frothy luxurious lavish grand stunning "
    "gorgeous peaceful stormy windy warm-toned brilliant radiant pristine sparse damp moist solid "
    "hollow loose tight deep shallow blurry unusual typical giant-sized hardback leafless formal "
    "casual medieval gothic victorian futuristic urban rural wintry coastal nautical alpine arctic "
    "autumnal festive holiday-themed historic historical japanese chinese french italian german "
    "english british american canadian mexican indian russian spanish greek roman egyptian african "
    "asian european scottish irish dutch swiss turkish korean brazilian australian persian siamese "
    "siberian nordic scandinavian mediterranean oriental western eastern northern southern "
    "military industrial commercial residential public private local modern-day contemporary "
    "abstract surreal fantastical imaginary mythical legendary robotic mechanical steampunk "
    "cyberpunk holographic crystalline iridescent shimmering gleaming sparkling glistening glowing "
    "twinkling reflective mirrored textured woven quilted embroidered lacy frilly ruffled pleated "
    "sleeveless strapless oversize petite stout stocky muscular skinny plump lanky bald blond "
    "blonde brunette ginger-haired hairless freckled bespectacled barefoot shirtless naked nude "
    "pregnant young-looking middle-aged senior junior teenage baby-sized double triple dual twin "
    "multi single-story multi-story various-sized half-full half-empty half-eaten overripe "
    "underripe edible unripe gooey mushy crusty doughy fizzy bubbly organic vegetarian vegan "
    "vegetable-filled rich creamy-white whole wheat fluorescent incandescent electric-blue solar "
    "nuclear atomic cosmic celestial starry moonlit sunlit dimly-lit backlit shady overcast "
    "clear-blue cloudless icy-cold snow-white triangular-shaped conic pyramid-shaped ringed "
    "pronged winged horned striped-and-dotted chrome-plated gilded lacquered varnished polished "
    "unpolished weathered dilapidated ruined abandoned derelict deserted vacant crowded bustling "
    "hectic chaotic orderly neat immaculate spotless filthy grimy grubby stained greyish tattered "
    "shabby scruffy worn-out ordinary common rare exotic foreign strange weird odd peculiar "
    "bizarre quirky whimsical funny goofy hilarious serious grumpy cheerful joyful joyous excited "
    "surprised shocked confused bored annoyed frightened scared terrified nervous anxious proud "
    "confident shy timid bashful sly clever smart wise foolish crazy mad insane evil wicked "
    "sinister ominous eerie spooky haunted cursed enchanted bewitched sacred divine godly royal "
    "imperial noble regal fierce-eyed solitary faraway far-off close-by neighboring "
    "adjacent opposing upside-down inverted reversed horizontal vertical diagonal parallel "
    "perpendicular slanted tilted crooked bent straightened twisted spiraling coiled curled rolled "
    "folded unfolded crumpled wrinkled creased flattened stretched inflated deflated swollen "
    "bulging flammable fireproof waterproof bulletproof handmade homemade man-made natural "
    "artificial synthetic fake false imitation genuine authentic original true mere sheer-white "
    "main primary secondary central major minor essential vital entire complete partial total "
    "average regular irregular free busy-looking available occupied ready finished unfinished "
    "incomplete superb magnificent spectacular breathtaking picturesque scenic idyllic quaint "
    "charming enchanting captivating dramatic romantic nostalgic melancholy gloomy dreary bleak "
    "somber wooded forested mountainous hilly flat-topped snowcapped snow-capped snow-covered "
    "ice-covered tree-lined palm-lined cobbled cobblestone paved unpaved asphalt gravelly "
    "muddy-looking tropical-looking coral-like rocky-looking stark matte bulbous squat "
    "slim-fitting translucent-looking monochromatic monochrome duotone bicolor tricolor multicolor "
    "multi-colored multicolour polychrome varicolored dappled mottled speckled flecked freckly "
    "zigzag wavy-lined swirly paisley tartan herringbone argyle geometric symmetrical asymmetrical "
    "concentric stainless-steel cast-iron wrought-iron rattan terracotta ceramic-tiled earthenware "
    "enamel plaster stucco adobe thatched shingled satin lace tweed corduroy flannel "
    "canvas-covered gooseneck swivel adjustable portable foldable collapsible retractable "
    "removable wireless cordless handheld freestanding built-in open-air outdoor indoor "
    "bright-eyed wide-eyed one-eyed two-headed long-haired short-haired curly-haired hooded masked "
    "armored armoured uniformed suited caped crowned bearded mustachioed well-dressed well-lit "
    "well-worn well-kept long-stemmed distinct distinctive visible invisible hidden noticeable "
    "prominent apparent obvious subtle intense soft-looking gentle-looking warm-looking cool-toned "
)
ADJECTIVES = frozenset(_OTHER_ADJECTIVES.split()) | MATERIALS | SHADES | frozenset(["hardcover"])

STYLE_WORDS = word_set(
    "detailed 4k 8k hd uhd hdr photorealistic hyperrealistic realistic realism style styled "
    "lighting resolution artstation quality render rendered cinematic masterpiece photography "
    "bokeh studio sharp focus depth dof trending octane unreal engine illustration concept art "
    "artwork anime digital high-resolution ultra-realistic minimalist lens mm 35mm 50mm dslr "
    "award-winning aesthetic hyper-realistic high-quality"
)

FRAME_WORDS: dict[str, str] = {
    "top": "top",
    "upper": "top",
    "bottom": "bottom",
    "lower": "bottom",
    "left": "left",
    "right": "right",
    "left-hand": "left",
    "leftmost": "left",
    "rightmost": "right",
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
