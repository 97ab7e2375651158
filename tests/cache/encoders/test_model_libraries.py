"""Hugging Face's hub without a network, and what the model libraries may say."""

import logging
import socket
import warnings

import pytest
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.utils import LocalEntryNotFoundError

from ulfine_cache.encoders.model_libraries import first_line, nearest, quiet, without_waiting


@pytest.fixture
def asked(monkeypatch):
    """No name server and no proxy; returns the names that were asked for."""
    names = []

    def no_address(host, *args, **kwargs):
        names.append(host)
        raise socket.gaierror(-2, "name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return names


def test_without_waiting__asks_once(asked, tmp_path):
    with without_waiting(), pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("timm/nothing", "model.safetensors", cache_dir=tmp_path)
    assert len(asked) == 1
    assert constants.HF_HUB_OFFLINE is False


def test_without_waiting__is_over_after_an_error(asked):
    with pytest.raises(KeyError), without_waiting():
        assert constants.HF_HUB_OFFLINE is True
        raise KeyError
    assert constants.HF_HUB_OFFLINE is False


def test_without_waiting__changes_nothing_where_there_is_a_network(asked, monkeypatch):
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy.invalid:3128"})
    with without_waiting():
        assert constants.HF_HUB_OFFLINE is False
    assert asked == []
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [])
    with without_waiting():
        assert constants.HF_HUB_OFFLINE is False


def test_without_waiting__respects_the_users_own_choice(asked, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with without_waiting():
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is True
    assert asked == []


def test_quiet__until_the_end_of_the_body(caplog):
    timm = logging.getLogger("timm")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(KeyError), quiet():
            timm.error("not heard")
            warnings.warn("not heard", stacklevel=1)
            raise KeyError
        timm.error("heard")
        warnings.warn("heard", stacklevel=1)
    assert caplog.messages == ["heard"]
    assert [str(warning.message) for warning in caught] == ["heard"]


def test_first_line__or_the_type_of_an_error_without_words():
    assert first_line(ValueError("\nno file\nTraceback")) == "no file"
    assert first_line(KeyError()) == "KeyError"


def test_nearest__what_was_meant_or_what_there_is():
    assert nearest("resnet51", ["ResNet50", "vit"]) == "did you mean ResNet50?"
    assert nearest("x", ["one", "two"]) == "there are one, two"
    assert nearest("x", [f"model-{number}" for number in range(13)]).endswith("model-11 ...")
    assert nearest("x", []) == "it has no tags"
