"""The words of the caption grammar: for each attribute value, the phrases that may name it."""

from typing import Final

MEDIA: Final = (
    *("", "", "", "a portrait of", "portrait of", "a painting of", "a photo of", "photo of", "a drawing of"),
    *("an illustration of", "a picture of", "a photograph of"),
)
"""What a caption may open with; empty for none."""

NOUNS: Final[dict[str, tuple[str, ...]]] = {
    "woman": ("woman", "woman", "woman", "lady", "female person"),
    "man": ("man", "man", "man", "gentleman", "guy", "male person"),
}
PERSON: Final = "person"
"""The noun when gender is left out."""

ADJECTIVES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "age": {
        "young": ("young", "young", "youthful"),
        "middle-aged": ("middle-aged", "middle-aged", "middle aged"),
        "old": ("old", "old", "elderly", "aged"),
    },
    "ethnicity": {
        "caucasian": ("Caucasian",),
        "african": ("African", "African", "Nigerian", "Kenyan"),
        "asian": ("Asian", "Asian", "Chinese", "Japanese"),
        "indian": ("Indian",),
        "european": ("European", "European", "German", "Swedish"),
    },
    "expression": {
        "smiling": ("smiling", "happy", "cheerful", "laughing"),
        "serious": ("serious", "calm", "neutral"),
        "sad": ("sad", "unhappy", "crying"),
        "surprised": ("surprised", "astonished", "shocked"),
    },
}

YEARS: Final[dict[str, tuple[int, int]]] = {"young": (18, 32), "middle-aged": (42, 56), "old": (66, 92)}
"""First and last age in years of an "N-year-old"."""

HAIR_COLOURS: Final[dict[str, tuple[str, ...]]] = {
    "black": ("black", "black", "dark"),
    "brown": ("brown", "brown", "brunette"),
    "blond": ("blond", "blonde", "golden"),
    "red": ("red", "ginger"),
    "grey": ("grey", "grey", "gray", "white"),
}
HAIR_STYLES: Final = {"short": "short", "long": "long", "curly": "curly"}
BUN: Final = ("hair in a bun", "hair tied in a bun")
BALD: Final = ("a bald head", "no hair")
BEARDS: Final[dict[str, tuple[str, ...]]] = {
    "beard": ("beard", "beard", "full beard"),
    "moustache": ("moustache", "mustache"),
}
NO_BEARD: Final = ("no beard", "a clean-shaven face")
GLASSES: Final = ("glasses", "glasses", "spectacles", "eyeglasses", "black glasses")
NO_GLASSES: Final = ("no glasses",)
HATS: Final = {"hat": ("a hat", "a hat", "a fedora"), "beanie": ("a beanie", "a beanie", "a knitted cap")}
NO_HAT: Final = ("no hat",)
GARMENTS: Final = ("shirt", "sweater", "top", "pullover", "clothes")

SCENE_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "sea": ("at the sea", "by the sea", "in front of the sea", "at the beach", "sea background", "by the ocean"),
    "forest": ("in the forest", "in a forest", "in the woods", "in front of a forest", "forest background"),
    "night sky": (
        *("under the night sky", "at night", "under a starry sky", "in front of the night sky"),
        *("night sky background", "under the stars"),
    ),
    "city": ("in the city", "in a city", "in front of a city", "city background", "in front of the skyline"),
}
WALL_PHRASES: Final = (
    *("{} background", "{} background", "against a {} background", "on a {} background"),
    *("in front of a {} wall", "with a {} background"),
)
