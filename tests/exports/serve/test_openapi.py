"""The OpenAPI document against the server: schemathesis makes requests from it, and compares the answers with it."""

import contextlib
import re

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance  # noqa: E402

BOUNDED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


# No schema says of bytes that they are a picture.
NOT_FOR_CLASSIFY = [positive_data_acceptance]
# The document describes requests of one row and of none, without further keys; what else is right is accepted, too.
NOT_FOR_INFER = [negative_data_rejection]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("server", ["trees", "colours"])
def test_answers_are_as_described(request, server, mode):
    """Statuses, content types and bodies; no errors of the server; what breaks the schema is refused."""
    schema = schemathesis.openapi.from_url(f"{request.getfixturevalue(server).url}/openapi.json")
    every = [result.ok() for result in schema.get_all_operations()]
    # All but the document itself, which newer versions of schemathesis leave out.
    operations = [operation for operation in every if operation.path != "/openapi.json"]
    assert len(operations) == len(schema.raw_schema["paths"]) - 1
    for operation in operations:

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            excluded = {"/classify": NOT_FOR_CLASSIFY}.get(case.path, NOT_FOR_INFER if case.method == "POST" else [])
            case.call_and_validate(excluded_checks=excluded, timeout=30)

        # There is nothing wrong that could be sent to what takes nothing.
        with contextlib.suppress(Unsatisfiable):
            check()


def test_document__names_this_very_model(trees, colours):
    for server, name, tensor in ((trees, "trees", "features"), (colours, "colours", "pixels")):
        document = server.get("/openapi.json").json
        assert document["openapi"].startswith("3.1")
        assert f"/v2/models/{name}/infer" in document["paths"]
        infer = document["paths"][f"/v2/models/{name}/infer"]["post"]
        example = infer["requestBody"]["content"]["application/json"]["example"]
        assert example["inputs"][0]["name"] == tensor
        assert server.infer(name, example).status == 200


def test_document__covers_every_route(trees, colours):
    """All that is answered is described, apart from the files of the page."""
    described = set(colours.get("/openapi.json").json["paths"])
    for path in described:
        found = colours.get(path)
        assert found.status in (200, 405), path
    assert {"/v2", "/classify", "/metrics", "/model", "/v2/models/colours/versions/1/infer"} <= described
    assert not {path for path in described if re.search(r"[{}]", path)}
    # Where features go in, pictures are refused whatever they are.
    assert "/classify" not in trees.get("/openapi.json").json["paths"]
