#!/usr/bin/env python3
"""LoRA on VGG19's layers, goldfish against PyTorch + PEFT in turn in one run: `python3 benches/compare/lora.py`.

Needs torch, torchvision, peft, safetensors, numpy and pillow, and `cargo build --release` before. For each set of targets
a PEFT adapter with random A and B is the start of both; --parts says what is compared:
  losses  five steps of Adam: losses, and the final factors by root mean square and by the worst element. Adam moves an
          element by its gradient's sign at first, so that where a gradient is all rounding the element may go either
          way: the last column is how far PyTorch is from itself with its images in channels_last.
  load    logits of PEFT's adapter here, and of goldfish's adapter in PEFT
  speed   seconds of a step, batch 5, and peak resident memory (goldfish keeps what the frozen layers below make of an
          image, PyTorch computes it in every step, as its users do); on CUDA the most of the device's memory too, as
          PyTorch's allocator and goldfish say
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import DATA, ROOT, high_water, run, weights_file

SETS = {
    "classifier.6": ["classifier.6"],
    "classifier": ["classifier.0", "classifier.3", "classifier.6"],
    "features.28+34": ["features.28", "features.34"],
    "features.0": ["features.0"],
    "all": [f"features.{i}" for i in [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]]
           + ["classifier.0", "classifier.3", "classifier.6"],
}
SPEED = {"features.0": ["features.0"], "features.28": ["features.28"], "classifier.0": ["classifier.0"]}
RANK, ALPHA, LR = 4, 8, 1e-4


def lossless(work):
    """The five illustrations, none of them a JPEG, whose decoders differ."""
    from PIL import Image
    folder = work / "lossless" / "goldfish"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((DATA / "goldfish").iterdir()):
        if path.suffix == ".jpg":
            Image.open(path).convert("RGB").save(folder / (path.stem + ".png"))
        elif path.suffix in (".png", ".gif", ".bmp", ".webp"):
            shutil.copy(path, folder)
    return folder.parent


def images(data):
    import torch
    from PIL import Image
    from torchvision import transforms
    transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
                                    transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])])
    return torch.stack([transform(Image.open(p).convert("RGB")) for p in sorted((data / "goldfish").iterdir())])


def base(weights):
    from safetensors.torch import load_file
    from torchvision import models
    net = models.VGG(models.vgg.make_layers(models.vgg.cfgs["E"]), init_weights=False)
    net.load_state_dict(load_file(weights))
    return net.eval()


def peft_model(weights, targets):
    import torch
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(1)
    model = get_peft_model(base(weights), LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.01)
    return model


def adam_steps(model, x, steps):
    import torch
    labels = torch.ones(len(x), dtype=torch.long, device=x.device)
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LR, fused=True)
    losses, seconds = [], []
    for _ in range(steps):
        start = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    return losses, seconds


def goldfish_train(args, start, out, steps):
    """Runs goldfish; returns its losses, the seconds of a step, peak MB of the host and of the device."""
    command = [args.goldfish, "train", args.data, "--weights", args.weights, "--init-adapter", start, "-o", out,
               "--overwrite", "--store", "off", "--epochs", steps, "--batch-size", 5, "--lr", LR]
    _, peak = run(command)
    losses = [line["loss"] for line in map(json.loads, open(out / "metrics.jsonl")) if "loss" in line]
    ends = [json.loads(line)["seconds"] for line in open(out / "timing.jsonl")]
    # "955 MiB on the device at most; ..."
    device = float(json.loads((out / "cost.json").read_text())["memory"].split(" MiB", 1)[0])
    # Steps overlap: the mean of those after the first two, which compile and start.
    step = (ends[-1] - ends[1]) / (len(ends) - 2) if len(ends) > 2 else None
    return losses, step, peak, device


def goldfish_logits(args, adapter):
    import numpy
    paths = sorted((args.data / "goldfish").iterdir())
    command = [args.goldfish, "predict", *paths, "--weights", args.weights, "--adapter", adapter, "--top", 1000,
               "--format", "json"]
    done = subprocess.run([str(c) for c in command], capture_output=True, check=True)
    logits = numpy.zeros((len(paths), 1000), numpy.float32)
    for row, image in zip(logits, json.loads(done.stdout)["images"]):
        for prediction in image["predictions"]:
            row[prediction["index"]] = prediction["logit"]
    return logits


def factors(model):
    return {k.removesuffix(".default.weight"): p.detach() for k, p in model.named_parameters() if p.requires_grad}


def worst_element(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def check(args):
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    x = images(args.data)
    print(f"{'targets':<16}{'loss':>10}{'factors':>10}{'worst':>10}{'itself':>10}{'PEFT here':>12}{'ours in PEFT':>14}")
    for name, targets in SETS.items():
        start, out = args.work / f"peft-{name}", args.work / f"ours-{name}"
        model = peft_model(args.weights, targets)
        model.save_pretrained(start)
        row = f"{name:<16}"
        if "load" in args.parts:
            with torch.no_grad():
                theirs = model(x).numpy()
            here = abs(goldfish_logits(args, start) - theirs).max() / abs(theirs).max()
        losses, _ = adam_steps(model, x, 5)
        ours, *_ = goldfish_train(args, start, out, 5)
        worst = max(abs(a - b) / abs(b) for a, b in zip(ours, losses))
        final = factors(model)
        again = peft_model(args.weights, targets).to(memory_format=torch.channels_last)
        adam_steps(again, x.to(memory_format=torch.channels_last), 5)
        itself = max(worst_element(final[k], p) for k, p in factors(again).items())
        found = load_file(out / "adapter_model.safetensors")
        assert {k.removesuffix(".weight") for k in found} == set(final), "the same factors"
        pairs = [(found[f"{k}.weight"], p) for k, p in final.items()]
        factor = max(((a - b).norm() / b.norm()).item() for a, b in pairs)
        element = max(worst_element(a, b) for a, b in pairs)
        row += f"{worst:>10.1e}{factor:>10.1e}{element:>10.1e}{itself:>10.1e}"
        if "load" in args.parts:
            loaded = PeftModel.from_pretrained(base(args.weights), out).eval()
            with torch.no_grad():
                theirs = loaded(x).numpy()
            there = abs(goldfish_logits(args, out) - theirs).max() / abs(theirs).max()
            row += f"{here:>12.1e}{there:>14.1e}"
        print(row, flush=True)


def speed(args):
    print(f"{'step, batch 5':<16}{'PyTorch+PEFT':>14}{'goldfish':>10}{'ratio':>9}{'MB theirs':>11}{'MB ours':>9}{'ratio':>7}"
          + (f"{'GPU MiB theirs':>16}{'ours':>7}" if args.device == "cuda" else ""))
    for name, targets in SPEED.items():
        start = args.work / f"peft-{name}"
        peft_model(args.weights, targets).save_pretrained(start)
        theirs, ours, their_mb, our_mb, their_device, our_device = [], [], [], [], [], []
        for _ in range(args.rounds):
            # A process of its own, for its memory.
            command = [sys.executable, __file__, "--steps-of", name, "--weights", args.weights, "--work", args.work,
                       "--device", args.device]
            done = subprocess.run([str(c) for c in command], capture_output=True, check=True, text=True)
            one = json.loads(done.stdout.splitlines()[-1])
            theirs += one["seconds"][len(one["seconds"]) // 5:]
            their_mb.append(one["mb"])
            their_device.append(one["device"])
            steps = 100 if args.device == "cuda" else 6 if name == "features.0" else 20
            _, step, peak, device = goldfish_train(args, start, args.work / f"ours-{name}", steps)
            ours.append(step)
            our_mb.append(peak)
            our_device.append(device)
        middle = statistics.median
        print(f"{name:<16}{middle(theirs):>14.4f}{middle(ours):>10.4f}{middle(theirs) / middle(ours):>8.2f}x"
              f"{middle(their_mb):>11.0f}{middle(our_mb):>9.0f}{middle(our_mb) / middle(their_mb):>7.2f}"
              + (f"{middle(their_device):>16.0f}{middle(our_device):>7.0f}" if args.device == "cuda" else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldfish", type=Path, default=ROOT / "target" / "release" / "goldfish")
    parser.add_argument("--weights", type=Path, help="safetensors of torchvision's vgg19 [default: random, made]")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="what PyTorch uses for `speed`, in strict f32")
    parser.add_argument("--parts", default="losses,load,speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "goldfish-compare")
    parser.add_argument("--steps-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.work.mkdir(exist_ok=True)
    args.weights = args.weights or weights_file(args.work)
    args.data = lossless(args.work)
    if args.steps_of:
        import torch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        model = peft_model(args.weights, SPEED[args.steps_of]).to(args.device)
        _, seconds = adam_steps(model, images(args.data).to(args.device), 40 if args.device == "cuda" else 5)
        device = torch.cuda.max_memory_reserved() / 2**20 if args.device == "cuda" else 0
        print(json.dumps({"seconds": seconds, "mb": high_water(os.getpid()), "device": device}))
        return
    if "losses" in args.parts or "load" in args.parts:
        check(args)
    if "speed" in args.parts:
        speed(args)


if __name__ == "__main__":
    main()
