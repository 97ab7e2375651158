"""What lies where in a cache directory, and the version of its format; `cache/README.md` says what is inside.

Any file may have a `NAME.sha256` beside it (`digest_file.py`), and a `NAME.partial` while it is written (`atomic.py`).
"""

SCHEMA_VERSION = 2
"""Of `cache.h5`, shards and splits as they are written; readers take every version up to it (`versions.py`)."""

CACHE_FILE = "cache.h5"
"""What users open: all shards as one. Written last, so a directory without it is an unfinished cache."""

SHARDS = "shards"
"""Folder of the shards, `00000.h5` and on."""

INDEX_FILE = "image.faiss"
"""The FAISS index over the first view; absent where none was asked for."""

INDEX_PARTS = ".index"
"""Folder of what has been built of an index so far; it may be deleted."""

SKIPPED_FILE = "skipped.csv"
"""Inputs that have no row, and why."""

SPLITS = "splits"
"""Folder of the named splits, `NAME.h5`."""

LOCK_FILE = ".lock"
"""Held by the process that writes."""

PREPARING_FILE = ".preparing"
"""Held by one of several processes that each make a range of the shards, while it puts aside what is out of date."""

PLAN = ".plan"
"""How many shards the cache will have, until it is finished (`plan_file.py`)."""

WORKERS = ".workers"
"""What workers on other machines know their cache directory by, while an engine runs."""

FORMER = ".former"
"""Folder of shards whose images changed, as a store of features, until the new ones are complete."""

SEEN = ".seen"
"""Which files the images were in, until `cache.h5` holds it (`seen_files.py`)."""

SCRATCH = ".repair"
"""Folder where a repair makes replacements; it may be deleted."""
