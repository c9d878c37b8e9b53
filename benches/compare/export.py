#!/usr/bin/env python3
"""Exported networks in onnxruntime against goldfish's own predictions: `python3 benches/compare/export.py`.

Needs onnx, onnxruntime, numpy and pillow, and `cargo build --release` before. Trains small adapters on random weights in a
temporary folder, exports each, lets ONNX's checker read the file with its shapes, and holds the logits of the examples'
pictures against those of `goldfish predict`: relative to the largest, at most 1e-5. With `--arch vgg19` on the full network.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "illustrations"
LAYERS = ["--targets", "features.0,features.1?,classifier", "--rank", "2", "--lr", "0.01"]
BRANCH = ["--targets", "pixels,classifier.3", "--rank", "3"]
# Sides whose last planes are 1, 2, 3, 7, 8, 14, and the targets.
CASES = [(32, LAYERS), (64, BRANCH), (100, LAYERS), (224, BRANCH), (224, LAYERS), (272, LAYERS), (448, LAYERS)]


def crop(path, side):
    """RGB bytes as the file's description says: torchvision's Resize and CenterCrop."""
    image, short = Image.open(path).convert("RGB"), (side * 256 + 112) // 224
    w, h = image.size
    w, h = (short, short * h // w) if w <= h else (short * w // h, short)
    image = image.resize((w, h), Image.BILINEAR)
    left, top = round((w - side) / 2), round((h - side) / 2)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def normalised(pixels, notes):
    x = (pixels.astype(np.float32) / np.float32(255) - np.float32(notes["mean"])) / np.float32(notes["std"])
    return x.transpose(0, 3, 1, 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--goldfish", default=ROOT / "target/release/goldfish")
    parser.add_argument("--arch", default="vgg19-tiny")
    parser.add_argument("--sides", type=lambda text: [int(n) for n in text.split(",")], default=[])
    args = parser.parse_args()

    def goldfish(*command):
        done = subprocess.run([args.goldfish, *map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    scratch = tempfile.TemporaryDirectory()
    data = Path(scratch.name)
    for path in DATA.glob("*/*"):
        # JPEG decoders differ by a few in 255; PNG's do not.
        (data / path.parent.name).mkdir(exist_ok=True)
        Image.open(path).convert("RGB").save(data / path.parent.name / f"{path.stem}.png")
    worst = 0
    for index, (side, targets) in enumerate(CASES):
        if args.sides and side not in args.sides:
            continue
        with tempfile.TemporaryDirectory() as folder:
            run, model = Path(folder) / "run", Path(folder) / "model.onnx"
            goldfish("train", data, "-o", run, "--arch", args.arch, "--weights", "random:1", "--image-size", side,
                     "--epochs", 2, *targets)
            report = json.loads(goldfish("predict", data, "--adapter", run, "--top", 1000, "--format", "json"))
            found = {}
            for kind in ("floats", "bytes"):
                goldfish("export", run, "-o", model, "--input", kind, "--overwrite")
                onnx.checker.check_model(str(model), full_check=True)
                session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
                notes = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
                pixels = np.stack([crop(image["path"], notes["crop"]) for image in report["images"]])
                x = normalised(pixels, notes) if kind == "floats" else pixels
                logits, probabilities = session.run(["logits", "probabilities"], {"image": x})
                one, = session.run(["logits"], {"image": x[:1]})
                assert np.abs(one - logits[:1]).max() <= 1e-5 * np.abs(logits).max()
                for row, shares, image in zip(logits, probabilities, report["images"]):
                    expected = np.zeros_like(row)
                    for p in image["predictions"]:
                        expected[p["index"]] = p["logit"]
                        assert notes["classes"][p["index"]] == p["category"]
                        assert abs(shares[p["index"]] - p["probability"]) < 1e-5
                    error = np.abs(row - expected).max() / np.abs(expected).max()
                    found[kind] = max(found.get(kind, 0), error)
            print(f"{args.arch} {side:4} {targets[1]:32} floats {found['floats']:.1e} bytes {found['bytes']:.1e}", flush=True)
            worst = max(worst, *found.values())
    assert worst < 1e-5, worst


if __name__ == "__main__":
    main()
