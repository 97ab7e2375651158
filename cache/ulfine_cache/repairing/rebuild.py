"""Make single shards of a cache again from what it was made of, and prove that they are the same bytes."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ulfine_cache.atomic import make_directory, reason, sync_directory
from ulfine_cache.command import config_of
from ulfine_cache.errors import UlfineError
from ulfine_cache.import_features import import_features
from ulfine_cache.joining.parts import parts_of
from ulfine_cache.pictures.joined_preprocess import JoinedPreprocess, read_preprocess
from ulfine_cache.progress import Progress
from ulfine_cache.repairing.integrity import read_attributes
from ulfine_cache.sources.source import blocks_of, listing_digest
from ulfine_cache.store.cache_file import library_versions, read_shard_table
from ulfine_cache.store.datasets import open_for_reading
from ulfine_cache.store.digest_file import file_sha256, recorded_sha256, write_digest
from ulfine_cache.store.layout import CACHE_FILE, SCHEMA_VERSION, SCRATCH, SHARDS
from ulfine_cache.store.shards import read_header
from ulfine_cache.store.versions import call_of, version_of


def rebuild_shards(cache: Path, damaged: Sequence[Path], *, progress: Progress) -> str:
    """Encode or import damaged or missing shards again and put them in their places if they are the same bytes.

    The work is the request that made the cache, given again for a folder inside it that begins with the sound shards,
    so nothing in the cache changes until a replacement is complete. A repair that was killed goes on where it was.

    Args:
        cache: The cache directory, with a sound `cache.h5`, locked by the caller.
        damaged: The shards to replace.
        progress: Receives the stages of the work.

    Returns:
        How it was done, in words.

    Raises:
        UlfineError: The request is not recorded, the source is gone or has changed, or the bytes are not the same; the
            damaged shards are still there then.
    """
    with open_for_reading(cache / CACHE_FILE) as file:
        version = version_of(file, cache / CACHE_FILE)
        request = call_of(dict(file.attrs))
        versions = json.loads(str(file.attrs["versions"]))
    names = ", ".join(path.relative_to(cache).as_posix() for path in damaged)
    if version < SCHEMA_VERSION:
        raise UlfineError(
            f"{cache} has cache format {version}, which is read but no longer written, so {names} cannot be made again "
            f"as it was: delete {names} and run the command that made the cache again, it keeps the other shards"
        )
    if request is None:
        raise UlfineError(
            f"{cache / CACHE_FILE} does not record what {names} was made from: delete {names} and run the command that "
            "made the cache again, it keeps the other shards"
        )
    scratch = cache / SCRATCH
    try:
        if "caches" in request:
            raise UlfineError(
                f"the features are joined from {', '.join(request['caches'])}: repair those, delete "
                f"{cache / CACHE_FILE} and give `ulfine join` again"
            )
        if "sha256" in request:
            source = _import_again(scratch, request, _Counting(progress))
        else:
            source = _encode_again(cache, scratch, damaged, request, _Counting(progress))
    except UlfineError as error:
        raise UlfineError(f"{names} cannot be made again, and nothing was changed: {error}") from error
    table = read_shard_table(cache)
    wanted = dict(zip(table.paths, table.sha256, strict=True))
    different = []
    for path in damaged:
        replacement = scratch / path.relative_to(cache)
        if replacement.is_file() and file_sha256(replacement) == wanted[path]:
            _put(replacement, path)
            if recorded_sha256(path) != wanted[path]:
                write_digest(path, wanted[path])
        else:
            different.append(path.relative_to(cache).as_posix())
    shutil.rmtree(scratch)
    if different:
        raise UlfineError(
            f"{', '.join(different)} made again from {source} is not what it was, so nothing was replaced: "
            f"{_changed_versions(versions)}; to go on with new features, which runs and splits of this cache do not "
            f"fit, delete {', '.join(different)} and run the command that made the cache again"
        )
    return f"made again from {source}, byte for byte the same"


class _Counting:
    """A progress without the notes, which would name files of the scratch folder."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        self._progress.update(stage, done, total, **figures)

    def note(self, message: str) -> None:
        pass


def _import_again(scratch: Path, request: dict[str, str], progress: Progress) -> str:
    file = Path(request["file"])
    if file.is_file() and file_sha256(file) != request["sha256"]:
        raise UlfineError(f"{file} has changed since it was imported")
    import_features(file=file, out=scratch, text_features=request["text_features"], index="none", progress=progress)
    return str(file)


def _encode_again(
    cache: Path, scratch: Path, damaged: Sequence[Path], request: dict[str, str], progress: Progress
) -> str:
    from ulfine_cache.encoding.same_contents import know_files
    from ulfine_cache.sources.cached_images import recorded_source
    from ulfine_cache.stage_one import cache_features

    attributes = read_attributes(cache)
    pictures = read_preprocess(attributes["preprocess"])
    # What made them then may not be what is taken for the same weights today. For several encoders it cannot be said.
    made = {"mean": _listed(pictures.mean), "std": _listed(pictures.std), "interpolation": pictures.interpolation}
    if isinstance(pictures, JoinedPreprocess) or parts_of(attributes):
        made = dict[str, str]()
    recorded = json.dumps(made | request | {"out": str(scratch), "index": "none"})
    try:
        arguments = config_of(cache_features).model_validate_json(recorded).model_dump()
    except ValidationError as error:
        raise UlfineError(f"{cache / CACHE_FILE} records a request that this version does not know") from error
    images = recorded_source(attributes)
    table = read_shard_table(cache)
    blocks = blocks_of(images.items, arguments["shard_size"])
    sound = [(number, path) for number, path in enumerate(table.paths) if path not in damaged]
    # Before any work: otherwise every shard whose images changed would be encoded as well.
    changed = [
        number
        for number, path in sound
        if number >= len(blocks) or read_header(path).listing != listing_digest(blocks[number])
    ]
    if changed or len(blocks) != len(table.paths):
        raise UlfineError(
            f"images in {arguments['source']} were added, removed or changed since; to encode those anew, delete the "
            "damaged shards and run the command that made the cache again"
        )
    make_directory(scratch / SHARDS)
    for number, path in sound:
        shared = scratch / SHARDS / path.name
        _share(path, shared)
        # Whether its images are the same is not asked here.
        know_files(scratch, images, blocks[number], shared)
    cache_features(**arguments, progress=progress)
    return str(arguments["source"])


def _listed(values: Sequence[float]) -> str:
    return ",".join(map(repr, values))


def _share(path: Path, target: Path) -> None:
    """Let a shard stand in two places; shards are never written in place."""
    try:
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
    except OSError as error:
        raise UlfineError(f"cannot write {target}: {reason(error)}") from error


def _put(replacement: Path, path: Path) -> None:
    make_directory(path.parent)
    try:
        replacement.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UlfineError(f"cannot write {path}: {reason(error)}") from error


def _changed_versions(then: dict[str, str]) -> str:
    now = library_versions()
    changes = [f"{name} {old} -> {now.get(name, 'none')}" for name, old in then.items() if now.get(name) != old]
    if changes:
        return f"the libraries have changed ({', '.join(changes)})"
    return "its images have changed, or it was made on another kind of machine"
