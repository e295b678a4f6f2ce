"""Write a network as an ONNX model: its operations in one file, its unchanged weights in another."""

import io
import warnings
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor

from diffusion.engines.base import EngineError, probe
from diffusion.errors import first_line

OPSET = 18
MADE_BY = f"onnx_model 2, opset {OPSET}"  # raise the number when cached models must be made again
MODEL, WEIGHTS = "model.onnx", "weights"
ALIGNMENT = 64  # bytes: a cache line


def write_model(unet: UNet2DModel, folder: Path) -> Path:
    """Write a float32 network as folder/model.onnx and folder/weights, and return the path of model.onnx.

    Inputs: x_t, t and, if the network has labels, class_labels; output: output. The weights have a file of their own so
    that they are mapped from it: a model that holds them would be in memory three times while it is read. Raises
    EngineError, and any error of a missing package or the file system.
    """
    import onnx

    model = onnx.load_from_string(_operations(unet))
    weights = {f"unet.{name}": value for name, value in unet.state_dict().items()}
    inputs = [value for value in model.graph.input if value.name not in weights]
    used = [value.name for value in model.graph.input if value.name in weights]
    model.graph.ClearField("input")
    model.graph.input.extend(inputs)
    with (folder / WEIGHTS).open("wb") as file:
        for name in used:
            content = weights[name].contiguous().numpy().tobytes()
            file.write(bytes(-file.tell() % ALIGNMENT))
            place = {"location": WEIGHTS, "offset": file.tell(), "length": file.write(content)}
            tensor = onnx.TensorProto(name=name, dims=weights[name].shape, data_type=onnx.TensorProto.FLOAT)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.extend(
                onnx.StringStringEntryProto(key=key, value=str(value)) for key, value in place.items()
            )
            model.graph.initializer.append(tensor)
    (folder / MODEL).write_bytes(model.SerializeToString())
    return folder / MODEL


def _operations(unet: UNet2DModel) -> bytes:
    """Return the model without its weights, which are inputs instead."""
    x_t, t, labels = probe(unet, 2)
    inputs = {"x_t": x_t, "t": t} | ({} if labels is None else {"class_labels": labels})
    content = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's; check_engine finds a wrong model
            torch.onnx.export(
                _Call(unet).eval(),  # else the exporter would leave the network in training mode
                tuple(inputs.values()),
                content,
                export_params=False,
                do_constant_folding=False,  # the weights are absent; ONNX Runtime folds as it reads
                dynamo=False,  # the tracer takes a second; the other exporter ten, and two more packages
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["output"],
                dynamic_axes={name: {0: "batch"} for name in (*inputs, "output")},
            )
    except Exception as error:  # torch and onnx raise many types for a network they can't export
        raise EngineError(f"engine: no ONNX model of this network: {first_line(error)}") from error
    return content.getvalue()


class _Call(torch.nn.Module):
    def __init__(self, unet: UNet2DModel):
        super().__init__()
        self.unet = unet

    def forward(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        return self.unet(x_t, t, class_labels, return_dict=False)[0]
