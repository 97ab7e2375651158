"""Hugging Face's hub without a network."""

import socket

import pytest
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from ulfine_cache.encoders.model_libraries import without_waiting


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
