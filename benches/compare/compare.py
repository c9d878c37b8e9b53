#!/usr/bin/env python3
"""goldfish against PyTorch on this machine, in turn in one run: `python3 benches/compare/compare.py`.

Needs torch, torchvision, safetensors, numpy and pillow (any virtual environment), and `cargo build --release` before.
Both use the same f32 weights (random ones under torchvision's names, made once in --work) and every core. Each round
measures one program and then the other; the figure is the median of the rounds, a ratio is PyTorch's time over
goldfish's. PyTorch runs in strict f32, TF32 off on CUDA, but for `--parts precisions`.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = ROOT / "examples" / "illustrations"


def processor():
    """Its name, family, model and stepping (a cloud's machines share names), and how many of its threads there are."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    told = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    version = [told[key] for key in ("cpu family", "model", "stepping") if key in told]
    name = told.get("model name") or platform.processor() or platform.machine()
    # macOS does not say which of them a process may use.
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name} {'.'.join(version)}".strip() + f", {threads} threads"


def weights_file(work):
    """Random weights of torchvision's vgg19 as a safetensors file."""
    path = work / "vgg19-random.safetensors"
    if not path.exists():
        import torch
        from safetensors.torch import save_file
        from torchvision import models
        torch.manual_seed(0)
        save_file(models.vgg19(weights=None).state_dict(), path)
    return path


def run(command, **env):
    """Seconds from start to exit and peak resident MB of a process that must succeed."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=errors,
                                 env={**os.environ, **env})
        peak = 0
        # What the system says of a child that has ended includes the parent as it was when it forked.
        while child.poll() is None:
            peak = max(peak, high_water(child.pid))
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        if child.returncode != 0:
            errors.seek(0)
            sys.exit(f"{command}: {errors.read().decode()}")
    return seconds, peak


def high_water(pid):
    """The most resident memory of a process so far, in MB."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in text.splitlines() if line.startswith("VmHWM")]
    return int(lines[0][1]) / 1024 if lines else 0


def bench(args, part, *more):
    """What `goldfish bench` measured of one part."""
    command = [args.goldfish, "bench", part, "--weights", args.weights, "--json", *more]
    done = subprocess.run([str(c) for c in command], capture_output=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


class Torch:
    """PyTorch's side, in this process."""

    def __init__(self, weights, device, precision="f32"):
        import torch
        from safetensors.torch import load_file
        from torchvision import models
        self.torch, self.device, self.precision = torch, device, precision
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        net = models.VGG(models.vgg.make_layers(models.vgg.cfgs["E"]), init_weights=False)
        net.load_state_dict(load_file(weights))
        self.net = net.eval().to(device)
        if precision == "amp":
            self.net.to(memory_format=torch.channels_last)
        for parameter in net.parameters():
            parameter.requires_grad = False

    def median(self, work, least=5, budget=2.0):
        times = []
        work()
        start = time.perf_counter()
        while len(times) < least or time.perf_counter() - start < budget:
            begin = time.perf_counter()
            work()
            if self.device == "cuda":
                self.torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    def forward(self, batch, layout="NCHW"):
        """From pixels on the host to logits on the host, as goldfish measures it."""
        x = self.torch.randn(batch, 3, 224, 224)
        if self.device == "cpu":
            form = self.torch.channels_last if layout == "channels_last" else self.torch.contiguous_format
            self.net.to(memory_format=form)
            x = x.contiguous(memory_format=form)
        half = self.torch.autocast(self.device, self.torch.float16, enabled=self.precision == "amp")
        with self.torch.no_grad(), half:
            return self.median(lambda: self.net(x.to(self.device)).cpu())

    def step(self):
        """A step with the base's logits cached by hand and the fused Adam."""
        torch = self.torch
        x = torch.randn(5, 150528, device=self.device)
        base = torch.randn(5, 1000, device=self.device)
        label = torch.ones(5, dtype=torch.long, device=self.device)
        a = torch.randn(150528, 10, device=self.device, requires_grad=True)
        b = torch.zeros(10, 1000, device=self.device, requires_grad=True)
        adam = torch.optim.Adam([a, b], lr=1e-3, fused=True)

        def step():
            loss = torch.nn.functional.cross_entropy(base + x @ a @ b, label)
            loss.backward()
            adam.step()
            adam.zero_grad()
            loss.item()
        return self.median(step, least=20)

    def logits(self, path):
        from PIL import Image
        from torchvision import transforms
        transform = transforms.Compose([
            transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])])
        with self.torch.no_grad():
            x = transform(Image.open(path).convert("RGB"))[None].to(self.device)
            return self.net(x)[0].cpu().numpy()


def logit_error(args, torch_side):
    """The largest difference of the base's logits over the largest logit, on the lossless illustrations."""
    import numpy
    paths = [p for p in sorted((DATA / "goldfish").iterdir()) if p.suffix != ".jpg"]
    command = [args.goldfish, "predict", *paths, "--weights", args.weights, "--top", "1000", "--format", "json"]
    done = subprocess.run([str(c) for c in command], capture_output=True, check=True, cwd=ROOT)
    worst = 0.0
    for image in json.loads(done.stdout)["images"]:
        theirs, ours = torch_side.logits(image["path"]), numpy.zeros(1000, numpy.float32)
        for prediction in image["predictions"]:
            ours[prediction["index"]] = prediction["logit"]
        worst = max(worst, float(numpy.abs(ours - theirs).max() / numpy.abs(theirs).max()))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldfish", type=Path, default=ROOT / "target" / "release" / "goldfish")
    parser.add_argument("--weights", type=Path, help="safetensors of torchvision's vgg19 [default: random, made]")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="what PyTorch uses")
    parser.add_argument("--parts", default="forward,step,job,error",
                        help="of forward, step, job, error, precisions (TF32 and AMP, CUDA alone)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "goldfish-compare")
    args = parser.parse_args()
    args.work.mkdir(exist_ok=True)
    args.weights = args.weights or weights_file(args.work)
    parts = args.parts.split(",")
    rows = []

    def row(what, theirs, ours, unit="s"):
        rows.append({"what": what, "pytorch": theirs, "goldfish": ours, "ratio": theirs / ours, "unit": unit})
        print(f"{what:<44}{theirs:>10.4g}{ours:>10.4g} {unit:<3}{theirs / ours:>8.2f}x", flush=True)

    print(processor())
    rows.append({"what": "processor", "name": processor()})
    print(f"{'':<44}{'PyTorch':>10}{'goldfish':>10}    {'ratio':>8}")
    if "job" in parts:
        tutorial = [sys.executable, HERE / "tutorial.py", DATA, args.weights, args.work / "lora.pth", args.device]
        job = [args.goldfish, "train", DATA, "--weights", args.weights, "-o", args.work / "run", "--overwrite"]
        # The whole job, and what a second run of it takes, which finds the features of the first.
        whole = [*job, "--store", "off"]
        kept = {"GOLDFISH_CACHE": str(args.work / "cache")}
        theirs, warm, cold, again = [], [], [], []
        run(job, **kept)
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as empty:
                cold.append(run(whole, **kept, MESA_SHADER_CACHE_DIR=empty, __GL_SHADER_DISK_CACHE_PATH=empty))
            warm.append(run(whole, **kept))
            again.append(run(job, **kept))
            # The long one, 20 passes of the network: fewer rounds say as much.
            if len(theirs) < 2:
                theirs.append(run(tutorial))
        middle = lambda runs, i: statistics.median(r[i] for r in runs)
        row("tutorial job, warm shader cache", middle(theirs, 0), middle(warm, 0))
        row("tutorial job, cold shader cache", middle(theirs, 0), middle(cold, 0))
        row("tutorial job again, features kept", middle(theirs, 0), middle(again, 0))
        row("tutorial job, peak resident memory", middle(theirs, 1), middle(warm, 1), "MB")
    if {"forward", "step", "error", "precisions"} & set(parts):
        torch_side = Torch(args.weights, args.device)
    if "forward" in parts:
        for batch in [1, 5] + ([32] if args.device == "cuda" else []):
            layouts = ["NCHW", "channels_last"] if args.device == "cpu" else ["NCHW"]
            ours, theirs = [], {layout: [] for layout in layouts}
            for _ in range(args.rounds):
                ours.append(bench(args, "forward", "--batch", batch)["forward"][0]["seconds"])
                for layout in layouts:
                    theirs[layout].append(torch_side.forward(batch, layout))
            for layout in layouts:
                row(f"forward, batch {batch}, PyTorch {layout}", statistics.median(theirs[layout]), statistics.median(ours))
    if "step" in parts:
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(next(s["seconds"] for s in bench(args, "step")["step"] if s["cached"]))
            theirs.append(torch_side.step())
        row("step, batch 5, base's logits cached", statistics.median(theirs), statistics.median(ours))
    if "error" in parts:
        error = logit_error(args, torch_side)
        print(f"relative logit error against torchvision: {error:.1e}")
        rows.append({"what": "relative logit error", "error": error})
    if "precisions" in parts:
        # What PyTorch's users turn on: the tensor cores' TF32, and half precision with the channels last.
        for precision in ["tf32", "amp"]:
            torch_side = None
            torch_side = Torch(args.weights, args.device, precision)
            for batch in [1, 5, 32]:
                ours = bench(args, "forward", "--batch", batch, "--precision", "f16")["forward"][0]["seconds"]
                row(f"forward, batch {batch}, f16; PyTorch {precision}", torch_side.forward(batch), ours)
    (args.work / "results.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
