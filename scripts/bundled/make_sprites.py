"""Draw the sprites from Debian's Noto Color Emoji font: one small PNG per noun, plus the licence.

Run once; the PNGs are committed, so neither training nor the package needs the font:

    apt-get install fonts-noto-color-emoji
    python scripts/bundled/make_sprites.py
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from t2i_spatial.bundled.scenes import NOUNS, SPRITE_FOLDER, sprite_file

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
COPYRIGHT = Path("/usr/share/doc/fonts-noto-color-emoji/copyright")
FONT_SIZE = 109  # the only size of this bitmap font
SPRITE_SIDE = 80  # px, longer side

EMOJI = {
    "cat": "\U0001f431",
    "dog": "\U0001f436",
    "elephant": "\U0001f418",
    "zebra": "\U0001f993",
    "giraffe": "\U0001f992",
    "bird": "\U0001f426",
    "car": "\U0001f697",
    "bus": "\U0001f68c",
    "airplane": "\u2708",
    "boat": "\u26f5",
    "umbrella": "\u2602",
    "banana": "\U0001f34c",
    "apple": "\U0001f34e",
    "pizza": "\U0001f355",
    "donut": "\U0001f369",
    "cake": "\U0001f382",
    "carrot": "\U0001f955",
    "broccoli": "\U0001f966",
    "chair": "\U0001fa91",
    "clock": "\u23f0",
    "book": "\U0001f4d5",
    "teddy bear": "\U0001f9f8",
    "laptop": "\U0001f4bb",
    "cup": "\u2615",
}


def draw(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return one emoji as RGBA, cropped to its visible pixels, longer side `SPRITE_SIDE`."""
    canvas = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(canvas).text((30, 30), character, font=font, embedded_color=True)
    visible = canvas.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
    if visible is None:
        raise SystemExit(f"the font has no glyph for {character!r}")
    sprite = canvas.crop(visible)
    scale = SPRITE_SIDE / max(sprite.size)
    size = (max(1, round(sprite.width * scale)), max(1, round(sprite.height * scale)))
    return sprite.resize(size, Image.Resampling.LANCZOS)


def main() -> None:
    """Write every sprite and the font's copyright file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--out", type=Path, default=SPRITE_FOLDER)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    font = ImageFont.truetype(str(arguments.font), FONT_SIZE)
    for noun in NOUNS:
        path = arguments.out / sprite_file(noun)
        draw(EMOJI[noun], font).quantize(128, method=Image.Quantize.FASTOCTREE).save(path)
    shutil.copyfile(COPYRIGHT, arguments.out / "LICENSE.txt")
    total = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{len(NOUNS)} sprites in {arguments.out}, {total / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
