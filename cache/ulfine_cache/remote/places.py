"""URLs, and the paths on this machine that stand for them.

A URL such as `s3://bucket/photos-cache` fits no path: `Path` makes one slash of two. So whoever takes one turns it at
once into a path below the folder of local copies, `<local copies>/s3/bucket/photos-cache`, which says the URL without
being looked up anywhere, and is where copies of what lies there are kept. Nothing here asks the disk or the network.
"""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ulfine_cache.errors import UlfineError, UsageError

FOLDER_VARIABLE = "ULFINE_LOCAL_CACHE_DIR"
"""Environment variable with the folder of local copies."""

REMOTE = ("s3", "gs", "memory")
"""Protocols whose URLs are not on this machine."""

_SPELLED = "s3://, gs://, file:// and memory://"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_TYPO = re.compile(r"(s3|gs|gcs|file|memory|https?):(?!//)(.+)", re.IGNORECASE | re.DOTALL)
# A single letter is a drive of Windows.
_SECRET = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]+:/{1,2})[^/\s]*@")
_KEPT = " !#$&'()*+,;=@[]{}~^?:"
"""Besides letters, digits and `_.-~`: what a part of a path may hold as it is."""


class _Seen:
    """Whether there has been a URL in this process: without one nothing has to be put in words."""

    any_url = False


def place(given: str | Path) -> Path:
    """Return the path that stands for what a user has named: itself, or for a URL that of its local copies.

    Args:
        given: A local path, or a URL as text.

    Raises:
        UlfineError: It is a URL of another protocol, with a user or a password, or what was meant for one.

    Example:
        >>> place("photos"), named(place("s3://bucket/photos/"))
        (PosixPath('photos'), 's3://bucket/photos')
    """
    text = str(given)
    found = None if isinstance(given, Path) else _URL.fullmatch(text)
    if found is None:
        typo = _TYPO.fullmatch(text)
        if typo is not None and not os.path.lexists(text):
            rest = without_secrets(text)[len(typo[1]) + 1 :].lstrip("/")
            raise UlfineError(
                f"{without_secrets(text)} is neither a URL nor there: a URL is text with two slashes, "
                f"{typo[1]}://{rest}, and a local path of that name is written ./{without_secrets(text)}"
            )
        return Path(given)
    protocol, rest = found[1].lower().replace("gcs", "gs"), found[2]
    shown = without_secrets(text)
    if protocol == "file":
        if not rest.startswith("/"):
            raise UlfineError(f"{shown} names another machine: a file of this one has three slashes, file:///{rest}")
        return Path(rest)
    if protocol not in REMOTE:
        raise UlfineError(
            f"{shown} is not on this machine, and its protocol is none of {_SPELLED}: download it first, or give a "
            "local path"
        )
    if protocol != "memory" and "@" in rest.partition("/")[0]:
        raise UlfineError(
            f"{shown} holds a user or a password, which would be kept with what is made of it: leave them out, and "
            "give them as the storage's own tools take them (for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE)"
        )
    parts = rest.strip("/").split("/")
    if not all(parts) or "\0" in rest:
        what = "bucket" if protocol != "memory" else "name"
        raise UlfineError(f"{shown} is no whole URL: write {protocol}://{what}/folder, with single slashes behind it")
    _Seen.any_url = True
    return Path(_top(), protocol, *map(_quoted, parts))


def local(given: str | Path) -> Path:
    """Return a path that has to be on this machine.

    Raises:
        UsageError: It is a URL.
        UlfineError: It is what was meant for one.
    """
    found = place(given)
    if url_of(found) is not None and not isinstance(given, Path):
        raise UsageError(f"{named(found)} is a URL, and what is asked for here has to be on this machine: give a path")
    return found


def url_of(path: Path) -> str | None:
    """Return the URL that a path stands for, or None for a path of this machine.

    Example:
        >>> url_of(Path("photos")) is None
        True
    """
    top = _top()
    text = str(path)
    if not text.startswith(top):
        return None
    protocol, *parts = text[len(top) :].strip(os.sep).split(os.sep)  # noqa: PTH206 (asked for with each shard)
    return f"{protocol}://{'/'.join(map(unquote, parts))}" if protocol in REMOTE and parts else None


def named(path: Path) -> str:
    """Return what a user calls a path: the URL that it stands for, or itself."""
    return url_of(path) or str(path)


def may_be_there(path: Path) -> bool:
    """Say whether something is at a path, or may be at the URL that it stands for, which nobody asks here."""
    return url_of(path) is not None or path.exists()


def absolute_name(path: Path) -> str:
    """Return what a path is called whatever the working directory: a URL, or an absolute path without links."""
    return url_of(path) or str(path.resolve())


def in_words(said: Any) -> Any:
    """Put URLs in the place of the paths that stand for them, in a text or in lists and dicts of texts."""
    if not _Seen.any_url:
        return said
    if isinstance(said, str):
        top = _top()
        return re.sub(re.escape(top) + rf"({'|'.join(REMOTE)}){re.escape(os.sep)}", r"\1://", said)
    if isinstance(said, dict):
        # A comparison stays one.
        return type(said)((key, in_words(value)) for key, value in said.items())
    return [in_words(value) for value in said] if isinstance(said, list) else said


def without_secrets(text: str) -> str:
    """Return a text without the users and passwords of the URLs in it.

    Example:
        >>> without_secrets("no bucket s3://key:secret@photos")
        'no bucket s3://***@photos'
    """
    return _SECRET.sub(r"\1***@", text)


def local_copies() -> Path:
    """Return the folder of local copies: that of the environment variable, or one in the user's folder of caches."""
    return Path(_top())


def _top() -> str:
    """The folder of local copies with a separator behind it."""
    said = os.environ.get(FOLDER_VARIABLE)
    if not said:
        said = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ulfine-fast")  # noqa: PTH111, PTH118 (asked for with each shard)
    return os.path.abspath(said) + os.sep  # noqa: PTH100 (links stay links)


def _quoted(part: str) -> str:
    # Neither may lead to another folder.
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe=_KEPT)
