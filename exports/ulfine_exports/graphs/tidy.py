"""Takes out of a graph what contradicts itself or says nothing: tools read more of a file than onnxruntime does."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto


def tidy(model: "ModelProto") -> "ModelProto":
    """Say everything once, in place.

    - Each operator set is imported once: graphs that were merged from two import it twice, and onnxruntime's quantiser
      then finds none.
    - Shapes of what lies between input and output are left out: torch's exporter writes them for weights as well, and
      some of the former shape where it joined or turned a weight. Tools that need shapes infer them, and stop where
      what they find is not what the file says.

    Args:
        model: A whole graph, its functions inlined.

    Returns:
        The same model.
    """
    import_once(model)
    del model.graph.value_info[:]
    return model


def import_once(model: "ModelProto") -> None:
    """Import each operator set once, in place."""
    from onnx import helper

    imports = {item.domain: item.version for item in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*item) for item in imports.items())
