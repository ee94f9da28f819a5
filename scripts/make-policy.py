"""Writes the network of examples/policy. Usage: pip install onnx && python scripts/make-policy.py

force = tanh(tanh(state * w1 + b1) * w2 + b2); the weights are inputs, because they are what is learned.
"""
import pathlib

from onnx import TensorProto, checker, helper, save

HIDDEN = 16
OUT = pathlib.Path(__file__).parent.parent / "examples" / "policy" / "policy.onnx"


def port(name, *dims):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


nodes = [
    helper.make_node("MatMul", ["state", "w1"], ["a"]),
    helper.make_node("Add", ["a", "b1"], ["b"]),
    helper.make_node("Tanh", ["b"], ["hidden"]),
    helper.make_node("MatMul", ["hidden", "w2"], ["c"]),
    helper.make_node("Add", ["c", "b2"], ["d"]),
    helper.make_node("Tanh", ["d"], ["force"]),
]
weights = [port("w1", 4, HIDDEN), port("b1", HIDDEN), port("w2", HIDDEN, 1), port("b2", 1)]
graph = helper.make_graph(nodes, "policy", [port("state", "N", 4), *weights], [port("force", "N", 1)])
model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
checker.check_model(model)
OUT.parent.mkdir(parents=True, exist_ok=True)
save(model, OUT)
