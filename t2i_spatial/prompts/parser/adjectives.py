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
