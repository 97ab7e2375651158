"""Objects are read and written whatever the network does, or a line says why not."""

import sys

import pytest

from tests.object_storage import CUT_ANSWER, CUT_REQUEST, FAULTS, LOST_ANSWER, THROTTLED, ask, at_random
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote import storage
from ulfine_cache.remote.failures import StorageError


def first(fault, count=2):
    """A fault of the first requests."""
    left = [count]

    def choose(method, path):
        left[0] -= 1
        return fault if left[0] >= 0 else ""

    return choose


@pytest.fixture
def place(request, copies):
    return f"memory://{request.node.name}"


def test_objects__in_memory(place):
    assert storage.listing(place) == []
    with pytest.raises(FileNotFoundError):
        storage.read(f"{place}/a")
    assert storage.write_new(f"{place}/a", b"12345")
    assert not storage.write_new(f"{place}/a", b"other")
    assert storage.read(f"{place}/a") == b"12345"
    assert storage.read(f"{place}/a", 1, 3) == b"23"
    storage.write_over(f"{place}/f/b", b"1")
    assert [(found.name, found.is_folder, found.size) for found in storage.listing(place)] == [
        ("a", False, 5),
        ("f", True, 0),
    ]
    before = storage.look(f"{place}/a")
    storage.write_over(f"{place}/a", b"54321")
    assert storage.look(f"{place}/a").version != before.version
    storage.remove(f"{place}/a")
    storage.remove(f"{place}/a")
    assert [found.name for found in storage.listing(place)] == ["f"]


@pytest.mark.parametrize("fault", FAULTS)
def test_requests__are_made_again(s3, fault, tmp_path):
    network, url, port = s3
    data = bytes(range(256)) * 40
    network.fault = first(fault)
    storage.write_over(f"{url}/f/a", data)
    for ask_for in (
        lambda: storage.read(f"{url}/f/a") == data,
        lambda: storage.read(f"{url}/f/a", 10, 20) == data[10:20],
        lambda: storage.look(f"{url}/f/a").size == len(data),
        lambda: [found.name for found in storage.listing(f"{url}/f")] == ["a"],
        lambda: bool(storage.download(f"{url}/f/a", tmp_path / "a", len(data))),
    ):
        network.fault = first(fault)
        assert ask_for()
    assert (tmp_path / "a").read_bytes() == data
    assert network.faults[fault] >= 6
    network.fault = first(fault)
    storage.remove(f"{url}/f/a")
    assert ask(port, "GET", f"/{url[5:]}/f/a")[0] == 404


def test_write_new__is_done_once(s3):
    network, url, port = s3
    network.fault = first(THROTTLED)
    assert storage.write_new(f"{url}/a", b"first")
    assert not storage.write_new(f"{url}/a", b"second")
    network.fault = first(LOST_ANSWER, 1)
    # It cannot know that it was the one.
    assert not storage.write_new(f"{url}/b", b"mine")
    assert [ask(port, "GET", f"/{url[5:]}/{name}")[1] for name in "ab"] == [b"first", b"mine"]


def test_write_new__of_more_than_one_piece(s3):
    _, url, _ = s3
    data = bytes(11 << 20)
    assert storage.write_new(f"{url}/a", data)
    assert not storage.write_new(f"{url}/a", data)
    assert storage.look(f"{url}/a").size == len(data)


@pytest.mark.parametrize("fault", [THROTTLED, CUT_REQUEST, CUT_ANSWER, "500 InternalError"])
def test_requests__give_up_with_one_line(s3, monkeypatch, fault):
    network, url, _ = s3
    monkeypatch.setenv("ULFINE_STORAGE_PATIENCE", "0.5")
    storage.write_over(f"{url}/a", bytes(1000))
    network.fault = lambda method, path: fault
    with pytest.raises(StorageError, match=rf"gave up on {url}/a after \d attempts \(.*\): run the same command again"):
        storage.read(f"{url}/a")


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("403 InvalidAccessKeyId", "cannot use .*/a: the storage does not know the access key; set AWS_ACCESS_KEY_ID"),
        ("403 SignatureDoesNotMatch", "the secret key is not that of the access key"),
        ("400 ExpiredToken", "the credentials have expired"),
        ("403 RequestTimeTooSkewed", "the clock of this machine is wrong"),
        ("404 NoSuchBucket", "there is no bucket s3://bucket-[0-9a-f]+; check its name"),
        ("400 InvalidBucketName", "is no name of a bucket"),
        ("501 NotImplemented", "cannot use .*/a: NotImplemented"),
    ],
)
def test_requests__that_no_repetition_helps(s3, fault, line):
    network, url, _ = s3
    network.fault = lambda method, path: fault
    with pytest.raises(StorageError, match=line):
        storage.read(f"{url}/a")
    assert len(network.requests) == 1
    if fault[:3] == "403":
        # What a HEAD cannot say a listing does.
        network.fault = lambda method, path: fault
        with pytest.raises(StorageError, match=line):
            storage.look(f"{url}/a")


def test_requests__refused_are_an_error_of_their_own(s3):
    network, url, _ = s3
    network.fault = lambda method, path: "403 AccessDenied"
    with pytest.raises(PermissionError):
        storage.read(f"{url}/a")
    with pytest.raises(StorageError, match=r"permission denied; docs/object_storage\.md names the rights"):
        storage.write_new(f"{url}/a", b"")


def test_requests__at_random_lose_nothing(s3):
    network, url, _ = s3
    network.fault = at_random(0.4, 3)
    data = {f"{url}/{number}": bytes([number]) * 500 for number in range(12)}
    for place, content in data.items():
        storage.write_new(place, content)
    assert {place: storage.read(place) for place in data} == data


def test_patience__has_to_be_a_number(s3, monkeypatch):
    network, url, _ = s3
    network.fault = first(THROTTLED)
    monkeypatch.setenv("ULFINE_STORAGE_PATIENCE", "long")
    with pytest.raises(UlfineError, match="ULFINE_STORAGE_PATIENCE='long' is no number of seconds"):
        storage.read(f"{url}/a")


@pytest.mark.parametrize(
    ("url", "package", "line"),
    [
        ("s3://bucket/a", "s3fs", r"s3:// needs s3fs: pip install 'ulfine-fast\[s3\]'"),
        ("gs://bucket/a", "gcsfs", r"gs:// needs gcsfs: pip install 'ulfine-fast\[gs\]'"),
    ],
)
def test_missing_package__is_one_line(copies, monkeypatch, url, package, line):
    monkeypatch.setitem(sys.modules, package, None)
    storage._file_system.cache_clear()
    with pytest.raises(UlfineError, match=line):
        storage.read(url)


def test_old_package__is_refused(copies, monkeypatch):
    monkeypatch.setattr("s3fs.__version__", "2024.6.1")
    storage._file_system.cache_clear()
    with pytest.raises(UlfineError, match=r"s3fs 2024\.6\.1 may write over"):
        storage.read("s3://bucket/a")
