#!/usr/bin/env python3
"""The logits of torchvision's eight VGGs at full size against goldfish's: `python3 benches/compare/family.py [NAME...]`.

Needs torch, torchvision, safetensors, numpy and pillow, and `cargo build --release` before. Each network's seeded weights, with
batch norms far from none, go into a file, which goldfish recognises by itself; both look at one illustration at 224 and 160
pixels. PyTorch computes in f64, and beside it in f32 to show what rounding does to its own.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models, transforms

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "examples/illustrations/goldfish/bowl.png"
NAMES = [name + norm for name in ("vgg11", "vgg13", "vgg16", "vgg19") for norm in ("", "_bn")]


def network(name):
    torch.manual_seed(0)
    net = models.get_model(name, weights=None).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.normal_(0, 0.5)
            module.bias.normal_(0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.copy_(torch.randn_like(module.running_var) ** 2 + 0.05)
            module.num_batches_tracked.fill_(7)
    return net


def pixels(side):
    transform = transforms.Compose([transforms.Resize((side * 256 + 112) // 224), transforms.CenterCrop(side), transforms.ToTensor(),
                                    transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])])
    return transform(Image.open(PICTURE).convert("RGB"))[None]


def ours(goldfish, weights, side, kernels):
    command = [goldfish, "predict", PICTURE, "--adapter", "none", "--weights", weights, "--image-size", str(side), "--top",
               "1000", "--format", "json", "--kernels", kernels]
    output = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
    logits = np.zeros(1000)
    for guess in json.loads(output)["images"][0]["predictions"]:
        logits[guess["index"]] = guess["logit"]
    return torch.from_numpy(logits)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--goldfish", default=ROOT / "target/release/goldfish")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    for name in args.names:
        with tempfile.TemporaryDirectory() as folder:
            net, path = network(name), Path(folder) / "weights.safetensors"
            save_file(net.state_dict(), path)
            found = {(side, kernels): ours(args.goldfish, path, side, kernels) for side in (224, 160)
                     for kernels in ("auto", "portable")}
            narrow = {side: net(pixels(side))[0].double() for side in (224, 160)}
            net = net.double()
            for side in (224, 160):
                exact = net(pixels(side).double())[0]
                off = {"PyTorch f32": narrow[side]} | {k: found[side, k] for k in ("auto", "portable")}
                print(f"{name:9} {side}", *(f"{who} {float((v - exact).abs().max() / exact.abs().max()):.1e}"
                                            for who, v in off.items()), flush=True)


if __name__ == "__main__":
    main()
