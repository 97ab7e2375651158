"""The one model of a server, in the paths that name it."""

from starlette.requests import Request

from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.routes.inference_response import VERSION
from ulfine_exports.serve.served_model import ServedModel

MODEL_PLACES = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


def check_model(request: Request, model: ServedModel) -> None:
    """Refuse other names and versions in the path.

    Raises:
        Refusal: There is no such model, or no such version of it; 404.
    """
    name, version = request.path_params.get("model", model.name), request.path_params.get("version", VERSION)
    if name != model.name:
        raise Refusal(404, f"there is no model {name[:100]!r}: this server has {model.name!r}")
    if version != VERSION:
        raise Refusal(404, f"there is no version {version[:100]!r} of {name!r}: this server has {VERSION!r}")
