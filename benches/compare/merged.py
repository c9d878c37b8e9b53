#!/usr/bin/env python3
"""A network of own classes, merged, in torchvision: `python3 benches/compare/merged.py`.

Needs torch, torchvision, safetensors and pillow, and `cargo build --release` before. Trains a head and two LoRAs of the full
VGG19 on random weights in a temporary folder, on the examples' pictures under two names; `goldfish merge` writes a state dict
that `vgg19(num_classes=2)` loads. Held against each other, relative to the largest: its logits and `goldfish predict`'s, and
what its layers give and `goldfish predict --features` writes.
"""
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision import models, transforms
from torchvision.models.feature_extraction import create_feature_extractor

ROOT = Path(__file__).resolve().parents[2]
GOLDFISH = ROOT / "target/release/goldfish"
# goldfish's name of an output and torchvision's: after ReLU, and pool where there is one.
LAYERS = {"features.2": "features.4", "features.28": "features.29", "avgpool": "avgpool", "features.34": "avgpool",
          "classifier.0": "classifier.1", "classifier.3": "classifier.4"}


def goldfish(*command):
    done = subprocess.run([GOLDFISH, *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        data, run, merged = Path(folder) / "data", Path(folder) / "run", Path(folder) / "merged.safetensors"
        for index, path in enumerate(sorted((ROOT / "examples/illustrations").glob("*/*"))):
            # JPEG decoders differ by a few in 255; PNG's do not.
            to = data / ("mine", "yours")[index % 2] / f"{path.stem}.png"
            to.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB").save(to)
        goldfish("train", data, "-o", run, "--weights", "random:1", "--targets", "head,features.28,classifier.0", "--epochs", 2)
        report = json.loads(goldfish("predict", data, "--adapter", run, "--json"))["images"]
        goldfish("merge", run, "-o", merged)
        names = json.loads(safe_open(merged, "pt").metadata()["goldfish.classes"])
        net = models.vgg19(num_classes=len(names)).eval()
        net.load_state_dict(load_file(merged))
        for module in net.modules():
            if isinstance(module, torch.nn.ReLU):
                # In place it would change what a feature extractor has taken before it.
                module.inplace = False
        transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
                                        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
        x = torch.stack([transform(Image.open(image["path"])) for image in report])

        def held(name, found, expected):
            error = ((found - expected).abs().max() / expected.abs().max()).item()
            print(f"{name:16} {error:.1e}", flush=True)
            assert error < 1e-5, name

        with torch.no_grad():
            logits = torch.zeros(len(report), len(names))
            for row, image in zip(logits, report):
                for p in image["predictions"]:
                    row[p["index"]] = p["logit"]
                    assert names[p["index"]] == p["category"]
            held("logits", logits, net(x))
            given = create_feature_extractor(net, list(set(LAYERS.values())))(x)
            for layer, torchvisions in LAYERS.items():
                path = Path(folder) / "features.safetensors"
                goldfish("predict", data, "--adapter", run, "--features", layer, "-o", path, "--overwrite")
                with safe_open(path, "pt") as file:
                    assert json.loads(file.metadata()["goldfish.images"]) == [image["path"] for image in report]
                    held(layer, file.get_tensor("features"), given[torchvisions].flatten(1))


if __name__ == "__main__":
    main()
