"""What nouns tell about geometry: typical sizes, things that hold others, things that are worn.

Typical sizes are written by hand, from knowledge of the things and not from data: the square root
of the area that a thing shows, in metres, to about one significant digit. They only serve to guess
which of two things stands nearer, so a factor of two is of no consequence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from t2i_spatial.metrics.geometry import Bools, Floats


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BY_SIZE: Mapping[float, str] = {
    0.01: "ant, bead, button, earring, pill, coin, ring, ladybug, fly, mosquito",
    0.02: "bee, key, cherry, grape, nut, battery, dice, stamp, snail, blueberry",
    0.04: "butterfly, strawberry, egg, mushroom, watch, cookie, pencil, pen, chess piece, spoon, "
    "fork, toothbrush, lighter, candle, lipstick, ping pong ball, golf ball, eraser, spider",
    0.06: "knife, mouse, tie, apple, orange, lemon, peach, tomato, potato, onion, donut, doughnut, "
    "cupcake, muffin, tennis ball, baseball, glasses, sunglasses, frog, scissors, computer mouse, "
    "carrot, pear, egg carton, remote, remote control, hot dog, comb, necklace, ornament",
    0.09: "cell phone, phone, cup, mug, banana, sandwich, hamburger, burger, glass, wine glass, "
    "can, soap, camera, flower, rose, tulip, daisy, bird, sparrow, hamster, wallet, croissant, "
    "hairbrush, hammer, crab, toy, doll, rubber duck, glove, sock, bat, baseball bat",
    0.13: "book, bottle, bowl, shoe, sandal, boot, hat, cap, clock, vase, plate, toothpaste, "
    "pineapple, fish, squirrel, pigeon, parrot, rat, baseball glove, jar, teapot, hair drier, "
    "hair dryer, frisbee, fruit, bread, notebook, helmet, broccoli, cabbage, cauliflower, ball",
    0.2: "keyboard, laptop, football, basketball, soccer ball, volleyball, pumpkin, watermelon, "
    "rabbit, duck, owl, kitten, puppy, pot, pan, basket, cake, pizza, lamp, toaster, handbag, "
    "purse, teddy bear, tray, pillow, radio, picture frame, tennis racket, skateboard, crown",
    0.3: "cat, chicken, rooster, turtle, box, bucket, backpack, bag, microwave, monitor, computer, "
    "potted plant, plant, houseplant, guitar, violin, umbrella, snake, monkey, crow, fire hydrant, "
    "parking meter, stop sign, traffic light, sink, printer, speaker, goose, kite, lantern, "
    "typewriter, flag, towel, shirt, jacket, baby, fox",
    0.45: "dog, suitcase, chair, stool, television, tv, goat, sheep, pig, toilet, swan, painting, "
    "picture, mirror, window, trash can, barrel, skis, eagle, penguin, turkey, wheel, tire, easel, "
    "snowboard, surfboard, nightstand, lamb, kangaroo, wolf, child, boy, girl, kid, dress, coat",
    0.7: "person, man, woman, people, player, worker, firefighter, police officer, soldier, chef, "
    "skier, surfer, snowman, statue, robot, deer, bicycle, bike, scooter, desk, dresser, oven, "
    "stove, washing machine, bench, armchair, fireplace, cow, pony, lion, tiger, leopard, panda, "
    "astronaut, knight, wheelchair, rug, carpet, door, cabinet, shelf",
    1.0: "table, dining table, motorcycle, horse, zebra, bear, couch, sofa, bathtub, refrigerator, "
    "fridge, bookshelf, wardrobe, piano, dolphin, donkey, camel, moose, crocodile, canoe, kayak, "
    "counter, ladder, street light, lamppost, gorilla, swing",
    1.5: "bed, car, taxi, fence, rhinoceros, rhino, hippopotamus, hippo, carriage, tent, bush, "
    "buffalo, bull, shark, cart, golf cart, fountain, billboard, pool table",
    2.2: "elephant, giraffe, van, jeep, truck, pickup truck, tractor, boat, sailboat, ambulance, "
    "minivan, dinosaur, swimming pool, shed, wall, gazebo, whale, hot air balloon",
    4.0: "bus, fire truck, tree, palm tree, pine tree, helicopter, tank, yacht, garage, hut, "
    "cabin, crane, playground, wagon, windmill, tram, trailer, rocket, house",
    8.0: "train, airplane, plane, jet, barn, bridge, lighthouse, church, tower, ship, ferry, "
    "building, temple, store, restaurant, mansion, castle, pond, farmhouse",
    40.0: "skyscraper, stadium, hill, mountain, lake, city, forest, cruise ship, pyramid, island, "
    "volcano, beach, river, field",
}

TYPICAL_SIZE: Mapping[str, float] = {
    noun.strip(): size for size, nouns in _BY_SIZE.items() for noun in nouns.split(",")
}
"""Metres, by noun."""

VESSELS = _words(
    "pot vase basket jar cup mug glass bowl box bucket barrel bathtub sink bag backpack suitcase "
    "pan crate bottle teacup pitcher tub cart planter flowerpot bin drawer nest carton chest "
    "wheelbarrow cage handbag tray "
)
"""Things with an opening above: what is in them may stick out at the top."""

WEARABLES = _words(
    "shirt t-shirt tshirt hat cap helmet jacket coat dress suit tie scarf glove sock shoe boot "
    "sandal jeans pants trousers shorts skirt sweater hoodie vest uniform costume robe glasses "
    "sunglasses mask watch necklace earring ring bracelet crown apron belt backpack hood goggles "
    "sneaker slipper blouse gown swimsuit bikini tuxedo cape headphones turban veil jersey cloak "
    "beanie bandana armor kimono wig wetsuit sweatshirt cardigan poncho pajamas overalls "
)
"""Things that a wearer is said to be in."""

Names = NDArray[np.str_]


def typical_sizes(names: Names | None, n: int) -> Floats:
    """Typical size of each name in metres, (n,); NaN where it is not known.

    A name of several words that is not in the table has the size of its last one.

    >>> typical_sizes(np.array(["coffee cup", "zorblat"]), 2)
    array([0.09,  nan])
    """
    return _looked_up(names, n, lambda name: TYPICAL_SIZE.get(name, np.nan), np.nan)


def among(names: Names | None, n: int, words: Collection[str]) -> Bools:
    """Which names, or their last words, are among `words`, (n,).

    >>> among(np.array(["wicker basket", "table"]), 2, VESSELS)
    array([ True, False])
    """
    return _looked_up(names, n, lambda name: float(name in words) or np.nan, 0.0) > 0


def _looked_up(names: Names | None, n: int, find: Callable[[str], float], default: float) -> Floats:
    if names is None or n == 0:
        return np.full(n, default)
    kinds, place = np.unique(names, return_inverse=True)
    values = []
    for kind in kinds.tolist():
        value = find(kind)
        last = kind.rsplit(" ", 1)[-1]
        value = find(last) if np.isnan(value) and last != kind else value
        values.append(default if np.isnan(value) else value)
    found: Floats = np.array(values, dtype=np.float64)[place.ravel()]
    return np.broadcast_to(found, (n,))
