"""Three of Triton's extensions of the protocol, as its clients and perf_analyzer ask for them.

The model's configuration, its statistics, and the index of the repository, which holds the one model.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from ulfine_exports.serve.json_response import JSONResponse
from ulfine_exports.serve.request_body import body_of
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.routes.inference_response import VERSION
from ulfine_exports.serve.routes.the_model import MODEL_PLACES, check_model
from ulfine_exports.serve.served_model import Tensor
from ulfine_exports.serve.service import Service

PLATFORM = "onnxruntime_onnx"

_INDEX_BODY = 2**16


def state_routes(service: Service) -> list[BaseRoute]:
    """The routes; see the module."""
    model = service.model

    async def config(request: Request) -> Response:
        check_model(request, model)
        return JSONResponse(model_config(service))

    async def stats(request: Request) -> Response:
        check_model(request, model)
        return JSONResponse({"model_stats": [service.metrics.statistics.json(model.name, VERSION)]})

    async def index(request: Request) -> Response:
        limits = service.limits
        # What may stand in it, whether to list the ready ones only, changes nothing where there is one.
        async with body_of(request, limit=_INDEX_BODY, seconds=limits.seconds, budget=service.bodies):
            state = "READY" if service.ready else "UNAVAILABLE"
        return JSONResponse([{"name": model.name, "version": VERSION, "state": state, "reason": ""}])

    routes = [
        answered(service, "/v2/models/stats", "GET", "metadata", stats),
        answered(service, "/v2/repository/index", "POST", "metadata", index),
    ]
    for place in MODEL_PLACES:
        routes.append(answered(service, f"{place}/config", "GET", "metadata", config))
        routes.append(answered(service, f"{place}/stats", "GET", "metadata", stats))
    return routes


def model_config(service: Service) -> dict[str, Any]:
    """Triton's `ModelConfig` as JSON; sizes are those of a row, as everywhere in it."""
    model = service.model
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": service.max_rows,
        "input": [{**_described(model.input), "format": "FORMAT_NONE", "optional": False}],
        "output": [{**_described(tensor), "label_filename": ""} for tensor in model.outputs],
        "dynamic_batching": {
            "preferred_batch_size": [service.limits.max_batch],
            "max_queue_delay_microseconds": round(1e6 * service.limits.max_delay),
        },
        "model_transaction_policy": {"decoupled": False},
        "parameters": {},
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": f"TYPE_{tensor.datatype}",
        "dims": list(tensor.row_shape),
        "is_shape_tensor": False,
    }
