"""Weights of 8 bits, by onnxruntime's dynamic quantization: of matrices alone; convolutions stay in 32."""

from importlib import import_module
from typing import Any

from carrara.export.quiet import quiet
from carrara.files import read_bytes, scratch

LARGEST = 1 << 31


def quantized(content: bytes) -> bytes:
    """A graph whose matrix products take weights of 8 bits, with a scale for each output."""
    onnx: Any = import_module("onnx")
    quantization: Any = import_module("onnxruntime.quantization")
    with scratch() as folder, quiet():  # it advises on the root logger
        graph = onnx.load_model_from_string(content)
        quantization.quantize_dynamic(
            graph,
            folder / "int8.onnx",
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
        return read_bytes(folder / "int8.onnx", LARGEST)
