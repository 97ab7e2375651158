"""The questions of `ulfine inspect` as queues: they take seconds, and are asked of the labels as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ulfine_cache.labelling.decisions import read_decisions
from ulfine_cache.labelling.relabelled import apply_labels
from ulfine_cache.progress import Silent
from ulfine_exports.labelling.queues import Known, Queue

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.inspecting.what import What

_NEXT = 1000
"""Images to label next that are found at once."""


def _asked(what: What, known: Known) -> npt.NDArray[np.int64]:
    """The rows that a question names, the most worth a look first.

    Raises:
        UlfineError: There are no rows for it, a package is missing, or the split was drawn with other labels.
    """
    from ulfine_fast.inspecting.questions import Asked, ask

    cache = _as_decided(known)
    split = cache.read_split(known.split_name)
    run = known.run
    # A model that does not know the classes as they are now cannot say which an image may be.
    model = run.model if run is not None and run.class_names == tuple(cache.class_names) else None
    found = ask(what, Asked(cache, split, model, _NEXT, 0, Silent()))
    return np.array([each.row for each in found.findings], np.int64)


def _as_decided(known: Known) -> FeatureCache:
    from ulfine_cache.feature_cache import FeatureCache

    plain = FeatureCache.open(known.now.cache.path)
    return apply_labels(plain, read_decisions(known.now.journal.path), text=True)


INSPECTIONS = (
    Queue("next-to-label", "What to label next", lambda known: _asked("next-to-label", known), slow=True),
    Queue("label-errors", "Likely wrong labels", lambda known: _asked("label-errors", known), slow=True),
    Queue("outliers", "Likely of no class", lambda known: _asked("outliers", known), slow=True),
)
