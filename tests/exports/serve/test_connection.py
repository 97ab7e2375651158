"""What `GuardedConnection` takes from inside uvicorn is still there. What it does is in test_limits.py."""

import ast
import asyncio
import inspect

import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.server import ServerState

from ulfine_exports.serve import connection
from ulfine_exports.serve.connection import GuardedConnection

REMEDY = (
    f"uvicorn {uvicorn.__version__} no longer has {{}}, which exports/ulfine_exports/serve/connection.py builds on: "
    "bring the two together, or lower the bound on uvicorn in pyproject.toml"
)


def own_names() -> tuple[set[str], set[str]]:
    """Names that the code reads of `self`, and those that it defines itself."""
    tree = ast.parse(inspect.getsource(connection))
    attributes = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    ]
    stored = {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    return {node.attr for node in attributes} - stored, stored | set(vars(GuardedConnection))


def new_connection() -> GuardedConnection:
    async def app(scope, receive, send):
        raise AssertionError("nobody asks")

    loop = asyncio.new_event_loop()
    try:
        return GuardedConnection(
            config=uvicorn.Config(app, http=GuardedConnection, ws="none", log_config=None),
            server_state=ServerState(),
            app_state={},
            _loop=loop,
        )
    finally:
        loop.close()


def test_uvicorn__calls_the_methods_that_are_overridden():
    overridden = {name for name in vars(GuardedConnection) if not name.startswith("_")}
    assert overridden >= {"connection_made", "data_received", "on_message_begin", "on_headers_complete"}
    base = vars(httptools_impl.HttpToolsProtocol)
    gone = [f"HttpToolsProtocol.{name}" for name in sorted(overridden) if name not in base]
    assert not gone, REMEDY.format(", ".join(gone))
    for name in overridden:
        ours, theirs = inspect.signature(getattr(GuardedConnection, name)), inspect.signature(base[name])
        changed = f"HttpToolsProtocol.{name}{ours} but {name}{theirs}"
        assert list(ours.parameters) == list(theirs.parameters), REMEDY.format(changed)


def test_uvicorn__sets_the_attributes_that_are_read():
    read, own = own_names()
    assert read - own == {"cycle", "loop", "timeout_keep_alive_task", "transport"}
    made = new_connection()
    gone = [f"HttpToolsProtocol.{name}" for name in sorted(read - own) if not hasattr(made, name)]
    assert not gone, REMEDY.format(", ".join(gone))


def test_uvicorn__answers_say_when_they_are_complete():
    said = inspect.getsource(httptools_impl.RequestResponseCycle)
    assert "self.response_complete = True" in said, REMEDY.format("RequestResponseCycle.response_complete")


def test_uvicorn__takes_no_attribute_that_is_ours():
    made = httptools_impl.HttpToolsProtocol.__init__
    clash = {"_late", "_stuck", "_in_headers", "_header_bytes", "_idle"} & set(made.__code__.co_names)
    assert not clash, f"uvicorn {uvicorn.__version__} now has attributes of the same names: {clash}"
