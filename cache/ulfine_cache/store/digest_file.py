"""`NAME.sha256` beside a file: its SHA-256 as `sha256sum -c` reads it.

HDF5 checksums data but not its own bookkeeping, and a library that parses damaged bookkeeping can crash. So the digest
is compared before the file is opened.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from ulfine_cache.atomic import reason, replacing
from ulfine_cache.store.regular import check_regular

DIGEST = ".sha256"
"""Suffix of digest files."""
_DIFFERS = "its bytes differ from those that were written (SHA-256)"
_SLIPPED = 32
"""Of 64 hexadecimal digits fewer differ only if the digest file itself was damaged; other content changes 60 or so."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read in pieces, as 64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DigestProblem(NamedTuple):
    """What is wrong with a file or with its digest.

    Attributes:
        path: The damaged one of the two.
        reason: In words.
    """

    path: Path
    reason: str


def digest_path(path: Path) -> Path:
    """Return the name of a file's digest file."""
    return path.with_name(path.name + DIGEST)


def write_digest(path: Path, *sha256: str) -> None:
    """Write the digest file of `path` atomically.

    Args:
        path: The file whose digest it is; it need not exist.
        sha256: 64 hexadecimal digits; while a file is being replaced those of both, so that it fits at any moment.

    Raises:
        UlfineError: The directory cannot be written.
    """
    with replacing(digest_path(path), goes_on=True) as partial:
        partial.write_bytes("".join(f"{digits}  {path.name}\n" for digits in sha256).encode())


def digest_problem(path: Path) -> DigestProblem | None:
    """Compare a file with its digest file, as bytes.

    Returns:
        None where they agree; otherwise what is damaged or missing.

    Raises:
        OSError: The file itself cannot be read.

    Example:
        >>> digest_problem(Path("photos-cache/cache.h5")) is None
        True
    """
    recorded = digest_path(path)
    try:
        check_regular(recorded)
        text = recorded.read_bytes()
    except FileNotFoundError:
        return DigestProblem(recorded, f"is missing: without it {path.name} cannot be checked as a whole")
    except OSError as error:
        return DigestProblem(recorded, f"cannot be read: {reason(error)}")
    actual = file_sha256(path)
    written = _digests(path, text)
    if not written:
        return DigestProblem(recorded, "is not the line that was written")
    differing = min(sum(one != other for one, other in zip(line, actual, strict=True)) for line in written)
    if differing == 0:
        return None
    return DigestProblem(recorded if differing < _SLIPPED else path, _DIFFERS)


_checked: dict[Path, tuple[int, int, int]] = {}
"""Files whose bytes were compared in this process: size, time of change and inode at that time."""


def remember(path: Path) -> None:
    """Take a file for checked, because its bytes were compared or come from this process."""
    _checked[path.absolute()] = _identity(path)


def recorded_sha256(path: Path) -> str | None:
    """Return what the digest file of `path` says, or None where there is none that can be read or it says two."""
    try:
        check_regular(digest_path(path))
        text = digest_path(path).read_bytes()
    except OSError:
        return None
    written = _digests(path, text)
    return written[0] if len(written) == 1 else None


def check_once(path: Path, sha256: str | None = None) -> None:
    """Compare the bytes of a file with their digest, once in a process while size, time of change and inode stay.

    It takes as long as reading the file (2 GB a second with SHA instructions, 0.4 without).

    Args:
        path: The file.
        sha256: 64 hexadecimal digits; None takes the digest file, and checks nothing where there is none, as in caches
            of version 1.

    Raises:
        OSError: The file cannot be read, or holds other bytes.
    """
    if _checked.get(path.absolute()) == _identity(path):
        return
    if sha256 is not None:
        problem = None if file_sha256(path) == sha256 else DigestProblem(path, _DIFFERS)
    else:
        problem = digest_problem(path)
    if problem is not None and problem.path == path:
        raise OSError(problem.reason)
    if problem is None:
        remember(path)


def _digests(path: Path, text: bytes) -> list[str]:
    """What the text of a digest file says, or nothing where it is not as `write_digest` writes it."""
    line = rb"([0-9a-f]{64})  " + re.escape(path.name).encode() + rb"\n"
    return [found.decode() for found in re.findall(line, text)] if re.fullmatch(rb"(" + line + rb"){1,2}", text) else []


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
