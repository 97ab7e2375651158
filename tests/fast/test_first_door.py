import subprocess
import sys

import pytest

import ulfine_fast


def test_first_door__hands_on_what_it_names():
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.estimator import ULFineClassifier
    from ulfine_fast.fitting import fit
    from ulfine_fast.run import load_run
    from ulfine_fast.scikit.labelled_folds import LabelledKFold

    assert (ulfine_fast.FeatureCache, ulfine_fast.ULFineClassifier) == (FeatureCache, ULFineClassifier)
    assert ulfine_fast.LabelledKFold is LabelledKFold
    assert (ulfine_fast.fit, ulfine_fast.load_run) == (fit, load_run)
    assert set(dir(ulfine_fast)) >= {"FeatureCache", "ULFineClassifier", "fit", "load_run"}


def test_first_door__unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        _ = ulfine_fast.magic


def test_first_door__opens_without_anything_heavy():
    code = (
        "import sys, ulfine_fast; ulfine_fast.__version__; "
        "assert not {'torch', 'sklearn', 'h5py', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
