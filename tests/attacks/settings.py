"""Settings in YAML that are made to break what reads them, and numbers that no method can use."""

_TEXTS = [
    "[" * 5000 + "]" * 5000,
    "{a: " * 3000 + "1" + "}" * 3000,
    "a: &a [1,1,1,1,1,1,1,1,1]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
    "a: &a [*a]",
    "a: 1\n" * 300_000,
    "? [1, 2]\n: 3",
    "!!python/object/apply:os.system ['id']",
]
_NAMES = ["deep list", "deep mapping", "aliases", "itself", "long", "key of a list", "code"]
SETTINGS = dict(zip(_NAMES, _TEXTS, strict=True))

ABSURD_SETTINGS = [
    ("lift", "steps=1e20"),
    ("lift", "steps=100000000000000000000"),
    ("lift", f"steps={'9' * 5000}"),
    ("lift", "batch_size=10000000000"),
    ("ulfine", "rounds=1e20"),
    ("ulfine", "rounds=100000000000"),
    ("knn", "k=1e20"),
    ("lp", "penalty=1e300"),
]
