"""Names of a server and pages of others, without a server."""

import pytest
from starlette.datastructures import Headers

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_exports.serve.access.api_keys import ApiKeys
from ulfine_exports.serve.access.hosts import AllowedHosts
from ulfine_exports.serve.access.origins import checked_origins, from_another_page

LOOPBACK = [
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "a.localhost:1",
    "127.0.0.1",
    "127.8.9.1:80",
    "[::1]",
    "[::1]:80",
]
LOOPBACK += ["[::ffff:127.0.0.1]"]
ADDRESSES = ["192.168.1.5:8000", "8.8.8.8", "[fe80::1]:8000", "0.0.0.0:8000"]
NEVER = [
    "evil.example",
    "evil.example:8000",
    "",
    " ",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost:x",
]
NEVER += [
    "localhost@evil.example",
    "localhost/",
    "localhost, evil.example",
    "evillocalhost",
    "127.0.0.1:999999",
    "[::1",
    "a b",
]
NEVER += [
    "2130706433",
    "0x7f.1",
    "lоcalhost",
    "localhost..",
    ":8000",
    "[]",
    "localhost:80:80",
    "evil.example#localhost",
]


@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_hosts__at_a_loopback_address(listening):
    hosts = AllowedHosts(listening)
    assert [host for host in LOOPBACK if not hosts.allow(host)] == []
    assert [host for host in ADDRESSES + NEVER if hosts.allow(host)] == []


@pytest.mark.parametrize("listening", ["0.0.0.0", "::", "192.168.1.5", "birds.local"])
def test_hosts__elsewhere(listening):
    """Whoever publishes a container's port, or probes a pod by its address, is not locked out."""
    hosts = AllowedHosts(listening)
    assert [host for host in LOOPBACK + ADDRESSES if not hosts.allow(host)] == []
    assert [host for host in NEVER if hosts.allow(host)] == []
    assert hosts.allow("birds.local:8000") == (listening == "birds.local")


def test_hosts__that_are_asked_for():
    hosts = AllowedHosts("127.0.0.1", ["Birds.example.org", "*.svc.cluster.local", "10.0.0.7", "[fe80::2]"])
    for host in (
        "birds.example.org",
        "BIRDS.example.org.:443",
        "a.svc.cluster.local",
        "10.0.0.7:1",
        "[fe80::2]",
        "localhost",
    ):
        assert hosts.allow(host), host
    for host in ("example.org", "x.birds.example.org", "svc.cluster.local", "10.0.0.8", "evilsvc.cluster.local"):
        assert not hosts.allow(host), host
    assert all(AllowedHosts("127.0.0.1", ["*"]).allow(host) for host in NEVER + ADDRESSES)
    for wrong in ("", "http://birds", "birds:80", "a b", "*birds", "birds.*", "**", "birds/"):
        with pytest.raises(UsageError, match="allowed_host"):
            AllowedHosts("127.0.0.1", [wrong])


@pytest.mark.parametrize(
    ("headers", "origins", "found"),
    [
        ({}, (), ""),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, (), ""),
        ({"host": "birds.example", "origin": "https://birds.example"}, (), ""),
        ({"host": "birds.example:443", "origin": "https://birds.example"}, (), ""),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8001"}, (), "http://127.0.0.1:8001"),
        ({"host": "127.0.0.1:8000", "origin": "http://localhost:8000"}, (), "http://localhost:8000"),
        ({"host": "localhost", "origin": "http://evil.example"}, (), "http://evil.example"),
        ({"host": "localhost", "origin": "null"}, (), "null"),
        ({"host": "localhost", "origin": "file://"}, (), "file://"),
        ({"host": "localhost", "origin": "localhost"}, (), "localhost"),
        ({"host": "", "origin": "http://"}, (), "http://"),
        ({"host": "localhost", "origin": "http://evil.example"}, ("http://evil.example",), ""),
        ({"host": "localhost", "origin": "http://Evil.example"}, ("http://evil.example",), ""),
        ({"host": "localhost", "origin": "https://evil.example"}, ("http://evil.example",), "https://evil.example"),
        ({"host": "localhost", "origin": "http://evil.example"}, ("*",), ""),
        ({"host": "localhost", "origin": "null"}, ("*",), ""),
        # Behind a proxy that asks by another name a browser still knows.
        ({"host": "10.0.0.7", "origin": "https://birds.example", "sec-fetch-site": "same-origin"}, (), ""),
        ({"host": "localhost", "sec-fetch-site": "none"}, (), ""),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, (), "another page"),
        ({"host": "localhost", "sec-fetch-site": "same-site", "origin": "http://localhost"}, (), "http://localhost"),
    ],
)
def test_from_another_page(headers, origins, found):
    assert from_another_page(Headers(headers), origins) == found


@pytest.mark.parametrize(
    "origin", ["", "null", "birds.example", "ftp://birds", "https://birds/page", "https://*", "https://"]
)
def test_origins__that_are_none(origin):
    with pytest.raises(UsageError, match="cors_origin"):
        checked_origins([origin])


def test_api_keys(tmp_path):
    path = tmp_path / "keys"
    path.write_bytes(b"\nfirst-key \r\n\n  second=key/+\n")
    keys = ApiKeys(path)
    for header in ("Bearer first-key", "bearer second=key/+", "BEARER  first-key"):
        assert keys.allow(header), header
    for header in (
        "",
        "Bearer",
        "Bearer ",
        "first-key",
        "Basic first-key",
        "Bearer first",
        "Bearer first-key2",
        "Bearer \xe9",
    ):
        assert not keys.allow(header), header


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "holds no key"),
        (b" \n\r\n", "holds no key"),
        (b"good\na key", "key 2 of"),
        (b"\xe9tale-key", "key 1 of"),
    ],
)
def test_api_keys__of_no_use(tmp_path, data, reason):
    path = tmp_path / "keys"
    path.write_bytes(data)
    with pytest.raises(UlfineError, match=reason) as found:
        ApiKeys(path)
    assert "tale-key" not in str(found.value).replace(str(path), "")
    for wrong, reason in ((tmp_path, "cannot read the keys"), (tmp_path / "none", "no such file")):
        with pytest.raises(UlfineError, match=reason):
            ApiKeys(wrong)
    path.write_bytes(b"a\n" * 2**16)
    with pytest.raises(UlfineError, match="over 64 kB"):
        ApiKeys(path)
