"""What tests of several rooms need."""

import os
import uuid
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from tests.object_storage import BadNetwork, ask, s3_server
from ulfine_cache.store.objects import disk_space

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real CLIP features and photographs, which are not part of the project."""
    place = Path(os.environ.get("ULFINE_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not (place / "clip-features").is_dir():
        pytest.skip(f"no data at {place}: set ULFINE_SHARED_DATA to a directory with clip-features/ and images/")
    return place


@pytest.fixture(scope="session")
def feature_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small .npz as users bring it: 4 classes, 16-d features around text prototypes, a train and a test set."""
    generator = np.random.default_rng(7)
    names = np.array(["ash", "birch", "cedar", "date palm"])
    text = generator.normal(size=(4, 16))
    labels = np.concatenate([np.repeat(np.arange(4), 40), np.repeat(np.arange(4), 10)])
    features = text[labels] + 1.6 * generator.normal(size=(200, 16)) + 0.8 * generator.normal(size=16)
    path = tmp_path_factory.mktemp("feature-file") / "trees.npz"
    np.savez(
        path,
        features=features.astype(np.float32),
        labels=labels,
        text_features=text.astype(np.float32),
        class_names=names,
        split=np.array(["train"] * 160 + ["test"] * 40),
        paths=np.array([f"{names[label]}/{row}.jpg" for row, label in enumerate(labels)]),
    )
    return path


@pytest.fixture(scope="session")
def s3_network():
    """A server that answers as S3 does, and a network in front of it; opening connections anew takes seconds."""
    with s3_server() as port, BadNetwork(port) as network:
        yield network


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of local copies of its own."""
    monkeypatch.setenv("ULFINE_LOCAL_CACHE_DIR", str(tmp_path / "copies"))
    monkeypatch.delenv("ULFINE_LOCAL_CACHE", raising=False)
    disk_space.forget_count()
    return tmp_path / "copies"


@pytest.fixture
def s3(s3_network: BadNetwork, copies: Path, monkeypatch: pytest.MonkeyPatch):
    """A bucket of its own behind a network whose faults a test chooses: (network, URL, the server's port)."""
    bucket, port = f"bucket-{uuid.uuid4().hex[:12]}", s3_network.port
    assert ask(port, "PUT", f"/{bucket}")[0] == 200
    s3_network.forget()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ULFINE_STORAGE_PATIENCE": "30",
        "AWS_ENDPOINT_URL": s3_network.url,
    }.items():
        monkeypatch.setenv(name, value)
    yield s3_network, f"s3://{bucket}", port
    s3_network.forget()


@pytest.fixture
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory):
    """Two Ray clusters at once would need twice the memory and, on a small machine, more than twice the time."""
    # The folder above is that of all workers of one test run.
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield
