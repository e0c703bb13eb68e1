"""What the onnxruntime backend of Triton does, for a server that comes without it: the server finds this folder under the
backend's name, so that configurations run unchanged. Everything but the execution is Triton's own."""

import json
import os
import sys

sys.path.insert(0, os.environ["TRITON_PYTHON_SITE"])

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

TYPES = {"TYPE_FP32": "tensor(float)", "TYPE_FP16": "tensor(float16)", "TYPE_UINT8": "tensor(uint8)"}


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        batch = [-1] if config["max_batch_size"] else []
        for kind, ports in (("input", self.session.get_inputs()), ("output", self.session.get_outputs())):
            known = {port.name: port for port in ports}
            for one in config[kind]:
                port = known.get(one["name"])
                dims = batch + [int(extent) for extent in one["dims"]]
                if port is None:
                    raise pb_utils.TritonModelException(f"{kind} '{one['name']}' is not in the model: {sorted(known)}")
                shape = [extent if isinstance(extent, int) else -1 for extent in port.shape]
                if shape != dims or port.type != TYPES[one["data_type"]]:
                    raise pb_utils.TritonModelException(f"{kind} '{one['name']}' is {port.type} {shape}, not {dims}")
        self.outputs = [one["name"] for one in config["output"]]

    def execute(self, requests):
        names = [port.name for port in self.session.get_inputs()]
        responses = []
        for request in requests:
            feeds = {name: np.ascontiguousarray(pb_utils.get_input_tensor_by_name(request, name).as_numpy()) for name in names}
            found = self.session.run(self.outputs, feeds)
            tensors = [pb_utils.Tensor(name, value) for name, value in zip(self.outputs, found)]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses
