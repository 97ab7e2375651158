"""The few hundred words the tiny CLIP has seen, as rows of CLIP's token table of 49,408."""

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor

from ulfine_cache.tiny.captions import every_word


class Vocabulary:
    """The token ids that captions can contain, packed to 0..n-1 in their own order.

    Training with the packed ids saves the 49,000 rows that no caption touches. The order keeps the end-of-text token
    the largest, which is how CLIP's text tower finds it.
    """

    def __init__(self, context_length: int) -> None:
        self.tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
        self.ids = np.unique(self.tokenizer(every_word()).numpy())
        self._rows: dict[str, NDArray[np.int64]] = {}

    def packed(self, captions: list[str]) -> Tensor:
        """Tokenise to packed ids, int64 (n, context_length)."""
        for caption in captions:
            if caption not in self._rows:
                ids = self.tokenizer([caption]).numpy()[0]
                rows = np.searchsorted(self.ids, ids)
                if not np.array_equal(self.ids[rows.clip(max=len(self.ids) - 1)], ids):
                    raise AssertionError(f"caption outside the training vocabulary: {caption}")
                self._rows[caption] = rows
        return torch.from_numpy(np.stack([self._rows[caption] for caption in captions]))

    def unpack(self, packed: Tensor, size: int) -> Tensor:
        """Return the full table (size, width): packed rows in their places, zeros elsewhere and at the padding."""
        table = torch.zeros(size, packed.shape[1], dtype=packed.dtype)
        table[torch.from_numpy(self.ids)] = packed
        table[0] = 0  # padding stands after the end of text, where causal attention never looks
        return table
