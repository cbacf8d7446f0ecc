"""Read Triton's ``config.pbtxt`` as Triton does: unknown fields and values are errors.

``golden/triton_model_config.binpb`` is the descriptor of Triton's ``model_config.proto``, from tritonclient 2.73.0
(BSD-3-Clause, NVIDIA Corporation). The protobuf package comes with onnx.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory, text_format

DESCRIPTOR = Path(__file__).parent / "golden" / "triton_model_config.binpb"


def read_config(path: Path) -> Any:
    """Parse a file as Triton's ``ModelConfig``."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(DESCRIPTOR.read_bytes())
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))
    return text_format.Parse(path.read_text(), message())
