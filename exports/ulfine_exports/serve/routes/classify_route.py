"""``POST /classify``: image files in, class names and probabilities out."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from ulfine_cache.errors import UlfineError
from ulfine_exports.serve.batcher import Outputs
from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.request_body import body_of
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.routes.logit_parts import who_spoke
from ulfine_exports.serve.served_model import ServedModel
from ulfine_exports.serve.service import Service

MAX_IMAGES = 128
"""Most images in one request."""

_TOP = 5
_CHUNK = 2**20


def classify_route(service: Service) -> BaseRoute:
    """The route; see the module."""

    async def classify(request: Request) -> Response:
        model, limits = service.model, service.limits
        if not model.takes_pictures:
            raise Refusal(
                400,
                f"{model.name} takes features, not pictures: send features to v2/models/{model.name}/infer, "
                "or export the run with --input pixels",
            )
        top = _top(request, len(model.class_names))
        async with body_of(request, limit=limits.max_body, seconds=limits.seconds, budget=service.bodies) as body:
            images = await _images(request, body)
            if not images:
                raise Refusal(400, "no image came: attach files as multipart/form-data, or send one as the body")
            described = await service.unless_gone(request, _all(service, images, top))
        if all("error" in item for item in described):
            named = [f"{item['name']}: {item['error']}" if item["name"] else item["error"] for item in described]
            raise Refusal(400, "; ".join(named[:5]))
        return JSONResponse({"model_name": model.name, "images": described})

    return answered(service, "/classify", "POST", "classify", classify)


async def _all(service: Service, images: list[tuple[str, bytes]], top: int) -> list[dict[str, Any]]:
    tasks = [asyncio.ensure_future(_one(service, name, data, top)) for name, data in images]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one(service: Service, name: str, data: bytes, top: int) -> dict[str, Any]:
    try:
        outputs = await service.picture(data)
    except UlfineError as error:
        return {"name": name, "error": str(error)}
    return {"name": name, **_described(outputs, service.model, top)}


def _described(outputs: Outputs, model: ServedModel, top: int) -> dict[str, Any]:
    """The answer for one image: outputs are (1, C) each."""
    probabilities, names = outputs["probabilities"][0], model.class_names
    order = np.argsort(-probabilities, kind="stable")[:top].tolist()
    answer: dict[str, Any] = {
        "label": names[order[0]],
        "confidence": float(probabilities[order[0]]),
        "classes": [{"name": names[index], "probability": float(probabilities[index])} for index in order],
    }
    if model.parts:
        parts = {part: outputs[f"logits_{part}"][0] for part in model.parts}
        answer["spoke"] = who_spoke(parts, outputs["logits"][0], names)
    return answer


def _top(request: Request, n_classes: int) -> int:
    text = request.query_params.get("top", str(_TOP))
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) > 0):
        raise Refusal(400, f"top is {text!r}: it takes a whole number from 1 on, how many classes are wanted")
    return min(int(text), n_classes)


async def _images(request: Request, body: bytearray) -> list[tuple[str, bytes]]:
    """Names and bytes of the image files in a request."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return [("", bytes(body))] if body else []
    from starlette.formparsers import MultiPartException, MultiPartParser

    try:
        parser = MultiPartParser(request.headers, _chunks(body), max_files=MAX_IMAGES, max_fields=MAX_IMAGES)
        # The body is in memory already, and bounded: no temporary files.
        parser.spool_max_size = 2**40
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"the form cannot be read: {error.message}") from None
    except (ValueError, LookupError) as error:  # what the parsers below raise on hostile headers
        raise Refusal(400, f"the form cannot be read: {error}") from None
    uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    return [(upload.filename or "", await upload.read()) for upload in uploads]


async def _chunks(body: bytearray) -> AsyncGenerator[bytes, None]:
    for first in range(0, len(body), _CHUNK):
        yield bytes(body[first : first + _CHUNK])
        await asyncio.sleep(0)
