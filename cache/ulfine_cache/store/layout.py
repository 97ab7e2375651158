"""The names of the files in a cache directory, and the version of their format; `cache/README.md` specifies them."""

SCHEMA_VERSION = 1
"""Of shards, `cache.h5` and splits; a reader opens this version and all before it."""

SHARDS = "shards"
CACHE_FILE = "cache.h5"
SKIPPED_FILE = "skipped.csv"
INDEX_FILE = "image.faiss"
SPLITS = "splits"
LOCK_FILE = ".lock"
