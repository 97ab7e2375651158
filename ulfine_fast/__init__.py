"""Long-tailed semi-supervised classification on cached CLIP features.

The first door for people who write Python; everything is imported when it is first used:

    import ulfine_fast

    run = ulfine_fast.fit(cache=Path("caches/photos"), out=Path("runs/first"))
    run = ulfine_fast.load_run(Path("runs/first"))
    cache = ulfine_fast.FeatureCache.open(Path("caches/photos"))
    X, y, text = cache.training()                              # y = "-1" where unlabelled
    classifier = ulfine_fast.ULFineClassifier().fit(X, y, text_features=text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ulfine_fast.version import __version__

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.estimator import ULFineClassifier
    from ulfine_fast.fitting import fit
    from ulfine_fast.run import load_run
    from ulfine_fast.scikit.labelled_folds import LabelledKFold
    from ulfine_fast.scikit.out_of_fold import out_of_fold_probabilities
    from ulfine_fast.scikit.unlabelled_rows import set_aside_unlabelled

__all__ = [
    "FeatureCache",
    "LabelledKFold",
    "ULFineClassifier",
    "__version__",
    "fit",
    "load_run",
    "out_of_fold_probabilities",
    "set_aside_unlabelled",
]

# No module of this package may be called `fit` or `load_run`: importing it would replace the function of that name
# here.
_WHERE = {
    "FeatureCache": "ulfine_cache.feature_cache",
    "LabelledKFold": "ulfine_fast.scikit.labelled_folds",
    "ULFineClassifier": "ulfine_fast.estimator",
    "fit": "ulfine_fast.fitting",
    "load_run": "ulfine_fast.run",
    "out_of_fold_probabilities": "ulfine_fast.scikit.out_of_fold",
    "set_aside_unlabelled": "ulfine_fast.scikit.unlabelled_rows",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
