"""Which language a text seems to be in, by its script and its function words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from t2i_spatial.prompts.words import word_set

_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("Japanese", "\u3040-\u30ff"),
    ("Korean", "\uac00-\ud7af\u1100-\u11ff"),
    ("Chinese", "\u4e00-\u9fff\u3400-\u4dbf"),
    ("Russian or another language in Cyrillic", "\u0400-\u04ff"),
    ("Arabic, Persian or Urdu", "\u0600-\u06ff\u0750-\u077f"),
    ("Hebrew", "\u0590-\u05ff"),
    ("Greek", "\u0370-\u03ff"),
    ("Hindi or another language in Devanagari", "\u0900-\u097f"),
    ("Bengali", "\u0980-\u09ff"),
    ("Tamil", "\u0b80-\u0bff"),
    ("Telugu", "\u0c00-\u0c7f"),
    ("Thai", "\u0e00-\u0e7f"),
    ("Georgian", "\u10a0-\u10ff"),
    ("Armenian", "\u0530-\u058f"),
)
_OTHER_SCRIPT = {name: re.compile(f"[{letters}]") for name, letters in _SCRIPTS}
_LETTERS = re.compile(r"[^\W\d_]")

_WORDS = {
    "German": (
        "ein eine einen einem einer eines der die das den dem des und mit auf neben unter über "
        "ist sind steht sitzt liegt vor hinter zwischen links rechts vom von zwei drei im am zum "
        "zur auch nicht kein keine sich hund katze mann frau tisch"
    ),
    "French": (
        "un une le la les des du de et avec sur sous dans devant derrière entre gauche droite est "
        "sont au aux à côté près qui deux trois chat chien homme femme table assis debout d'un "
        "d'une l'homme ne pas il elle"
    ),
    "Spanish": (
        "un una unos unas el la los las y con sobre en debajo encima delante detrás entre "
        "izquierda derecha está están es del al junto dos tres gato perro hombre mujer mesa de "
        "que sentado lado cerca"
    ),
    "Italian": (
        "un una uno il lo la gli le i e con su sul sulla sopra sotto davanti dietro tra sinistra "
        "destra è sono del della accanto due tre gatto cane uomo donna tavolo di che vicino nel "
        "nella seduto"
    ),
    "Portuguese": (
        "um uma uns umas o os as e com em sobre debaixo frente atrás entre esquerda direita está "
        "estão é do da dos das ao lado dois duas três gato cachorro homem mulher mesa de no na "
        "que perto sentado"
    ),
    "Dutch": (
        "een het de en met op onder naast voor achter tussen links rechts van is zijn staat zit "
        "ligt twee drie hond kat man vrouw tafel in bij niet geen boven"
    ),
    "Polish": (
        "i z na pod obok przed za między po lewej prawej jest są stoi siedzi leży dwa dwie trzy "
        "kot pies mężczyzna kobieta stole stół w od nad czerwony"
    ),
    "Swedish": (
        "en ett och med på under bredvid framför bakom mellan vänster höger är står sitter ligger "
        "två tre hund katt man kvinna bord av till som i"
    ),
    "Danish or Norwegian": (
        "en et og med på under ved siden af foran bag mellem venstre højre er står sidder ligger "
        "to tre hund kat mand kvinde bord av til som i bak mellom"
    ),
    "Finnish": (
        "ja on kissa koira pöydällä pöydän vieressä edessä takana alla päällä vasemmalla oikealla "
        "kaksi kolme mies nainen istuu seisoo punainen"
    ),
    "Turkish": (
        "bir ve ile üzerinde altında yanında önünde arkasında solunda sağında iki üç kedi köpek "
        "adam kadın masa masanın kırmızı duran oturan"
    ),
    "Czech": (
        "a s na pod vedle před za mezi vlevo vpravo od je jsou stojí sedí leží dva dvě tři kočka "
        "pes muž žena stůl stole v"
    ),
    "Hungarian": (
        "egy és a az mellett alatt előtt mögött között balra jobbra van vannak áll ül két három "
        "macska kutya férfi nő asztal asztalon"
    ),
    "Romanian": (
        "un o și cu pe sub lângă în fața spatele între stânga dreapta este sunt doi două trei "
        "pisică câine bărbat femeie masă de la al"
    ),
    "Indonesian or Malay": (
        "sebuah seekor seorang dan dengan di atas bawah samping depan belakang antara kiri kanan "
        "adalah dua tiga kucing anjing pria wanita meja yang dari berada"
    ),
    "Vietnamese": (
        "một và với trên dưới cạnh bên trước sau giữa trái phải là có hai ba con mèo chó người "
        "đàn ông phụ nữ bàn của"
    ),
}
_LANGUAGES = {name: word_set(words) for name, words in _WORDS.items()}
_ENGLISH = word_set(
    "a an the and of with on in at to from by is are was were has have no not next left right "
    "above below under over behind front near beside between inside top standing sitting there "
    "that which his her its their one two three four five six seven eight nine ten wearing "
    "holding into for as it them red blue green yellow white black brown small large big man "
    "woman photo image picture cat dog it's he she they against while several some many out up "
    "down"
)
_SHARED = word_set(
    "a an in on is de en no as man men la i o e to under over two tre bed am at me hat was "
    "die den of per top more come are links table y d le do red six dos sole pan"
)


def other_language(text: str, tokens: Sequence[str]) -> str | None:
    """The language a text seems to be in when it is not English, else `None`.

    >>> text = "un gato negro debajo de la mesa"
    >>> other_language(text, text.split()), other_language("a zorblat", ["a", "zorblat"])
    ('Spanish', None)
    """
    if not text.isascii():
        script = _script(text)
        if script is not None:
            return script
    if _FOREIGN.isdisjoint(tokens):
        return None
    foreign = sum(token in _FOREIGN for token in tokens)
    english = sum(token in _ENGLISH for token in tokens)
    if english >= foreign or (foreign < 2 and len(tokens) > 3):
        return None
    counts = {name: sum(token in words for token in tokens) for name, words in _LANGUAGES.items()}
    return max(counts, key=lambda name: counts[name])


_FOREIGN = frozenset().union(*_LANGUAGES.values()) - _SHARED


def _script(text: str) -> str | None:
    letters = len(_LETTERS.findall(text))
    if not letters:
        return None
    for name, pattern in _OTHER_SCRIPT.items():
        found = len(pattern.findall(text))
        # a Chinese sign says more than a Latin letter
        if found * 3 >= letters or (name == "Japanese" and found >= 2):
            return name
    return None
