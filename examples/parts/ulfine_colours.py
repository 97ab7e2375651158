"""An encoder and a source outside ulfine-fast's repository: mean colours on a grid, and images that a list names."""

from pathlib import Path

from torch import nn

from ulfine_cache.encoders.own_encoder import Encoder
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.sources.own_source import Images, Source
from ulfine_cache.sources.source import SourceItem


class Colours(nn.Module):
    """Mean colours of 4 x 4 squares: (n, 3, 64, 64) to (n, 48). A module with weights would load them in `load`."""

    def forward(self, pixels):
        """Features of normalised pixels; ulfine brings them to unit length."""
        return nn.functional.avg_pool2d(pixels, 16).flatten(1)


ENCODER = Encoder(
    name="colours",
    load=lambda pretrained: Colours(),
    preprocess=Preprocess((64, 64), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
)


def open_list(argument):
    """Images of a text file with lines such as ``photos/0001.jpg cat``; no class means unlabelled."""
    file = Path(argument)
    lines = [line.split(maxsplit=1) for line in file.read_text("utf-8").splitlines() if line.strip()]
    classes = sorted({line[1].strip() for line in lines if len(line) == 2})

    def item(path, name=None):
        status = (file.parent / path).stat()
        label = -1 if name is None else classes.index(name.strip())
        return SourceItem(path, label, "", status.st_size, status.st_mtime_ns)

    def where(item):
        return str(file.parent / item.path)

    items = [item(*line) for line in lines]
    return Images(classes, items, read=lambda item: Path(where(item)).read_bytes(), holder=where)


SOURCE = Source(name="image-list", open=open_list)
