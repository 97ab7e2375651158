"""``POST /classify``: image files in, class names and probabilities out."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from starlette.datastructures import Headers, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from ulfine_cache.errors import UlfineError
from ulfine_exports.metadata import OUTLIER_SCORE
from ulfine_exports.serve.batcher import Outputs
from ulfine_exports.serve.json_response import to_json
from ulfine_exports.serve.pieces_response import Holding, PiecesResponse
from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.request_body import body_of
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.routes.logit_parts import who_spoke
from ulfine_exports.serve.served_model import ServedModel
from ulfine_exports.serve.service import Service
from ulfine_fast.judging.accepted_rows import accepted_rows

MAX_IMAGES = 128
"""Most images in one request."""

_TOP = 5
_CHUNK = 2**20
# Upper bounds in bytes: what stands about an image beside its classes, and about a class beside its name.
_IMAGE, _ENTRY, _ESCAPED = 2**15, 100, 7


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
        holding = Holding(service.answers)
        try:
            async with body_of(request, limit=limits.max_body, seconds=limits.seconds, budget=service.bodies) as body:
                pieces = await service.unless_gone(request, _answer(service, request.headers, body, top, holding))
        except BaseException:
            holding.release()
            raise
        return PiecesResponse(pieces, {"Content-Type": "application/json"}, holding)

    return answered(service, "/classify", "POST", "classify", classify)


async def _answer(service: Service, headers: Headers, body: bytearray, top: int, holding: Holding) -> list[bytes]:
    """The JSON of the answer to one request, in pieces."""
    if len(body) > _CHUNK:
        # The form's parser takes a second for some megabytes of what looks like its boundary.
        images = await service.beside(lambda: asyncio.run(_images(headers, body)))
    else:
        images = await _images(headers, body)
    if not images:
        raise Refusal(400, "no image came: attach files as multipart/form-data, or send one as the body")
    await holding.take(len(images) * (_IMAGE + top * (_ENTRY + _ESCAPED * service.model.longest_name)))
    tasks = [asyncio.ensure_future(_one(service, name, data, top)) for name, data in images]
    del images
    try:
        described = [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for error, _ in described if error]
    if len(errors) == len(described):
        raise Refusal(400, "; ".join(errors[:5]))
    pieces = [to_json({"model_name": service.model.name})[:-1], b',"images":[']
    for place, (_, text) in enumerate(described):
        pieces += [b"," if place else b"", text]
    return [*pieces, b"]}"]


async def _one(service: Service, name: str, data: bytes, top: int) -> tuple[str, bytes]:
    """What is wrong with an image, and its entry as JSON."""
    try:
        outputs = await service.picture(data)
    except UlfineError as error:
        return (f"{name}: {error}" if name else str(error)), to_json({"name": name, "error": str(error)})
    return "", to_json({"name": name, **_described(outputs, service.model, top)})


def _described(outputs: Outputs, model: ServedModel, top: int) -> dict[str, Any]:
    """The answer for one image: outputs are (1, C) each, the outlier score (1,)."""
    probabilities, names = outputs["probabilities"][0], model.class_names
    order = np.argsort(-probabilities, kind="stable")[:top].tolist()
    answer: dict[str, Any] = {
        "label": names[order[0]],
        "confidence": float(probabilities[order[0]]),
        "classes": [{"name": names[index], "probability": float(probabilities[index])} for index in order],
    }
    metadata = model.metadata
    if metadata.thresholds is not None:
        answer["accepted"] = bool(accepted_rows(outputs["probabilities"], metadata.thresholds)[0])
    if metadata.acceptance_class_thresholds is not None:
        answer["threshold"] = metadata.acceptance_class_thresholds[order[0]]
    if OUTLIER_SCORE in outputs:
        answer[OUTLIER_SCORE] = float(outputs[OUTLIER_SCORE][0])
    if model.parts:
        parts = {part: outputs[f"logits_{part}"][0] for part in model.parts}
        answer["spoke"] = who_spoke(parts, outputs["logits"][0], names)
    return answer


def _top(request: Request, n_classes: int) -> int:
    text = request.query_params.get("top", str(_TOP))
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) > 0):
        raise Refusal(400, f"top is {text!r}: it takes a whole number from 1 on, how many classes are wanted")
    return min(int(text), n_classes)


async def _images(headers: Headers, body: bytearray) -> list[tuple[str, bytes]]:
    """Names and bytes of the image files in a request."""
    if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return [("", bytes(body))] if body else []
    from starlette.formparsers import MultiPartException, MultiPartParser

    try:
        parser = MultiPartParser(headers, _chunks(body), max_files=MAX_IMAGES, max_fields=MAX_IMAGES)
        # The body is in memory already, and bounded: no temporary files.
        parser.spool_max_size = 2**40
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"the form cannot be read: {error.message}") from None
    except (ValueError, LookupError) as error:  # what the parsers below raise on hostile headers
        raise Refusal(400, f"the form cannot be read: {error}") from None
    try:
        uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        return [(upload.filename or "", await upload.read()) for upload in uploads]
    finally:
        await form.close()
        # A part that has not ended is in no form.
        for file in getattr(parser, "_files_to_close_on_error", ()):
            file.close()


async def _chunks(body: bytearray) -> AsyncGenerator[bytes, None]:
    for first in range(0, len(body), _CHUNK):
        yield bytes(body[first : first + _CHUNK])
        await asyncio.sleep(0)
