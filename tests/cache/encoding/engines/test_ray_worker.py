"""What a worker refuses, each in one line; no Ray is needed for it."""

import json

import pytest

from ulfine_cache.command import arguments_of
from ulfine_cache.encoding.engines.ray_worker import ShardWorker
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source import blocks_of, listing_digest
from ulfine_cache.stage_one import cache_features
from ulfine_cache.store.cache_file import library_versions
from ulfine_cache.store.layout import WORKERS
from ulfine_cache.store.same_request import existing_request


@pytest.fixture
def worker_of(run, photos, tmp_path, random_model):
    """Make a worker for the pictures, of which all are encoded but shard 1; keywords change what it is told."""
    run()
    cache = tmp_path / "cache"
    (cache / WORKERS).write_text("token")
    first = (cache / "shards" / "00001.h5").read_bytes()
    (cache / "shards" / "00001.h5").unlink()
    model, weights, _ = random_model

    def make_worker(token="token", record=(), versions=(), **changes):
        values = {"source": photos, "out": cache, "model": model, "pretrained": weights, "device": "cpu"}
        values |= {"precision": "fp32", "workers": 2, "shard_size": 5}
        arguments = arguments_of(cache_features, **(values | changes))
        request = (existing_request(cache) or {}) | dict(record)
        return ShardWorker(arguments, request, token, library_versions() | dict(versions), cores=1), first, cache

    return make_worker


def listing(photos, number):
    return listing_digest(blocks_of(open_source(photos).items, 5)[number])


def test_worker__makes_the_shard_and_answers_in_small_values(worker_of, photos):
    worker, first, cache = worker_of()
    assert worker.ready() == {}
    answer = worker.make(1, listing(photos, 1))
    assert (cache / "shards" / "00001.h5").read_bytes() == first
    assert answer["done"]["number"] == 1
    assert answer["done"]["images"] == 5
    assert len(json.dumps(answer)) < 500
    assert worker.at()[0] == 5


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"token": "another"}, "does not see the cache directory"),
        ({"versions": {"torch": "0.1"}}, "instead of 0.1: install the same versions on all machines"),
        ({"record": {"weights": "0" * 16}}, "has other weights"),
        ({"model": "no-such-model"}, "no model 'no-such-model'"),
    ],
)
def test_worker__refuses(worker_of, photos, changes, line):
    worker, _, _ = worker_of(**changes)
    answer = worker.ready()
    assert line in answer["refused"]
    assert "\n" not in answer["refused"]
    assert worker.make(1, listing(photos, 1)) == answer


def test_worker__refuses_a_source_that_is_not_there(worker_of, photos, tmp_path):
    worker, _, _ = worker_of(source=tmp_path / "gone")
    assert worker.ready()["refused"].startswith(f"no folder {tmp_path / 'gone'}")


def test_worker__refuses_other_images_than_those_that_were_listed(worker_of, photos):
    worker, _, cache = worker_of()
    for number, digest in ((1, "0" * 64), (99, listing(photos, 1))):
        assert "finds other images in" in worker.make(number, digest)["refused"]
    assert not (cache / "shards" / "00001.h5").exists()


def test_worker__does_not_compare_what_leaves_numbers_alone(worker_of):
    worker, _, _ = worker_of(versions={"h5py": "0.1", "python": "3.99"})
    assert worker.ready() == {}
