"""Images that could not be read because of the place where they are: it may be back the next time.

A picture that cannot be decoded stays as it is. One that the system would not hand over (a disk that was pulled out, a
network drive that went away) may be fine, and must not be missing from the cache for ever. Nor must one that wants a
package which has been installed since.
"""

from collections.abc import Sequence

from ulfine_cache.errors import UlfineError
from ulfine_cache.pictures.opening import is_installed_now
from ulfine_cache.remote.places import may_be_there, place
from ulfine_cache.sources.source import ImageSource, SourceItem

_NOT_HANDED_OVER = "cannot be read: "
"""How the reasons begin that come from the system and not from the decoder."""
_GONE = f"{_NOT_HANDED_OVER}no such file or directory"


def refuse_vanished_source(
    source: ImageSource, items: Sequence[SourceItem], skipped: Sequence[tuple[str, str]]
) -> None:
    """Stop where all images of a block that were there when they were listed are gone.

    Args:
        source: Where the block's images were.
        items: The block's images as they were listed; a size of -1 says that one was not there even then.
        skipped: (path, reason) of those that could not be read.

    Raises:
        UlfineError: The source has vanished while it was read.
    """
    missing = {path for path, why in skipped if why == _GONE}
    gone = [item.path in missing for item in items if item.size >= 0] if missing else []
    if any(gone) and (all(gone) or not may_be_there(place(source.location))):
        raise UlfineError(
            f"{source.location} has vanished while it was read: run the same command again when it is back, it goes on"
        )


def readable_again(source: ImageSource, items: Sequence[SourceItem], skipped: Sequence[tuple[str, str]]) -> bool:
    """Say whether any image can be read now that the system did not hand over when its shard was made.

    The same is said of one that wanted a package which is there now.

    Args:
        source: Where the images are.
        items: The block's images as they are listed now.
        skipped: (path, reason) of those without a row in its shard.
    """
    if any(is_installed_now(why) for why in {why for _, why in skipped}):
        return True
    candidates = {path for path, why in skipped if why.startswith(_NOT_HANDED_OVER)}
    for item in items:
        if item.path in candidates:
            try:
                source.read(item)
            except OSError:
                continue
            return True
    return False
