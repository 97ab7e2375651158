import numpy as np
import pytest
import torch

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Silent
from ulfine_fast.method import FitResult, Method
from ulfine_fast.methods.zero_shot import PrototypeModel
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.seeds import one_by_one
from ulfine_fast.training import choose_device, train

DATA = make_training_data(
    features=np.eye(3), labels=np.arange(3), unlabelled=np.empty((0, 3)), text=None, class_names=("a", "b", "c")
)


def method_that_ends_with(value):
    def fit(data, settings, seed, progress):
        model = PrototypeModel(n_features=3, n_classes=3, scale=1.0).train()
        model.prototypes.fill_(value)
        return FitResult(model, [{"step": 1.0, "loss": 0.0}], {"seed": seed})

    return Method(
        name="try",
        settings=StrictConfig,
        fit_seeds=one_by_one(fit),
        build=lambda architecture: PrototypeModel(**architecture),
    )


def test_train__model_is_ready_to_predict():
    result = train(method_that_ends_with(1.0), StrictConfig(), DATA, 5, Silent())
    assert not result.model.training
    assert result.diagnostics == {"seed": 5}
    assert result.history == [{"step": 1.0, "loss": 0.0}]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_train__refuses_a_diverged_model(value):
    with pytest.raises(UlfineError, match="method try ended with NaN or infinite values in prototypes"):
        train(method_that_ends_with(value), StrictConfig(), DATA, 0, Silent())


def test_choose_device__auto_is_what_torch_has():
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"


def test_choose_device__asked_for_but_absent(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UlfineError, match="device cuda is not available"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda") == "cuda"
    with pytest.raises(UlfineError, match="device cuda:1 is not available"):
        choose_device("cuda:1")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps", ""])
def test_choose_device__unknown(device):
    with pytest.raises(UsageError, match="use auto"):
        choose_device(device)


def test_train__half_a_fit_is_for_those_who_want_it():
    def fit(data, settings, seed, progress):
        return FitResult(PrototypeModel(n_features=3, n_classes=3, scale=1.0), interrupted_at=7)

    method = Method(
        name="try",
        settings=StrictConfig,
        fit_seeds=one_by_one(fit),
        build=lambda architecture: PrototypeModel(**architecture),
    )
    with pytest.raises(KeyboardInterrupt):
        train(method, StrictConfig(), DATA, 0, Silent())
    assert train(method, StrictConfig(), DATA, 0, Silent(), keep_interrupted=True).interrupted_at == 7
