#!/usr/bin/env python3
"""What `goldfish convert` writes, read by those it is for: `python3 benches/compare/convert.py`.

Needs torch, torchvision, peft, lycoris-lora and safetensors, and `cargo build --release` before. Adapters of the narrow
VGG19 of tests/fixtures/vgg19.py go from PEFT to LyCORIS and from LyCORIS to PEFT, the branch from the pixels to the
tutorial's own class, weights from safetensors to torch.load and back; each line says how far the other side's logits are,
relative to the largest.
"""
import copy
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fixtures"))
from vgg19 import narrow_net  # noqa: E402

from lycoris import LycorisNetwork, create_lycoris, create_lycoris_from_weights  # noqa: E402
from lycoris.config import PRESET  # noqa: E402

MIXED = ["features.0", "features.28", "classifier.3"]
CONFIGS = {
    "plain": dict(r=2, lora_alpha=3, target_modules=MIXED),
    "rslora": dict(r=3, lora_alpha=2, target_modules=MIXED, use_rslora=True),
    "patterns": dict(r=2, lora_alpha=0.3, target_modules=MIXED, rank_pattern={"features.28": 4},
                     alpha_pattern={"classifier.3": 7}),
}


def convert(*arguments):
    subprocess.run([ROOT / "target/release/goldfish", "convert", *map(str, arguments)], check=True, stdout=subprocess.PIPE)


def far(found, expected):
    return f"{((found - expected).abs().max() / expected.abs().max()).item():.1e}"


class Lora(nn.Module):
    """The tutorial's."""

    def __init__(self, m, n, rank=10):
        super().__init__()
        self.m = m
        self.A = nn.Parameter(torch.randn(m, rank))
        self.B = nn.Parameter(torch.zeros(rank, n))

    def forward(self, inputs):
        inputs = inputs.view(-1, self.m)
        return torch.mm(torch.mm(inputs, self.A), self.B)


class Branched(nn.Module):
    def __init__(self, base, side):
        super().__init__()
        self.base, self.pixels = base, nn.Linear(3 * side * side, 10, bias=False)
        nn.init.zeros_(self.pixels.weight)

    def forward(self, x):
        return self.base(x) + self.pixels(x.flatten(1))


def randomise(model):
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


@torch.no_grad()
def main(work):
    torch.manual_seed(0)
    base, x = narrow_net(), torch.randn(3, 3, 64, 64)
    plain = base(x)
    for name, config in CONFIGS.items():
        model = get_peft_model(copy.deepcopy(base), LoraConfig(**config)).eval()
        randomise(model)
        model.save_pretrained(work / name)
        convert(work / name, "-o", work / f"{name}.safetensors")
        there, _ = create_lycoris_from_weights(1.0, str(work / f"{name}.safetensors"), net := copy.deepcopy(base))
        there.apply_to()
        expected = model(x)
        print(f"PEFT's {name} in LyCORIS: {far(net(x), expected)} (the adapter adds {far(expected, plain)})")

    LycorisNetwork.apply_preset(PRESET["full"])
    net = copy.deepcopy(base)
    lycoris = create_lycoris(net, 1.0, linear_dim=3, linear_alpha=2, conv_dim=2, conv_alpha=1.7)
    for lora in lycoris.loras:
        for parameter in lora.parameters():
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    lycoris.apply_to()
    lycoris.save_weights(str(work / "all.safetensors"), None, {})
    convert(work / "all.safetensors", "-o", work / "all")
    model = PeftModel.from_pretrained(copy.deepcopy(base), work / "all").eval()
    expected = net(x)
    print(f"LyCORIS's {len(lycoris.loras)} modules in PEFT: {far(model(x), expected)} (they add {far(expected, plain)})")

    model = get_peft_model(Branched(base, 64), LoraConfig(r=10, lora_alpha=10, target_modules=["pixels"])).eval()
    randomise(model)
    model.save_pretrained(work / "pixels")
    convert(work / "pixels", "-o", work / "lora.pth")
    lora = Lora(3 * 64 * 64, 10)
    lora.load_state_dict(torch.load(work / "lora.pth", weights_only=True))
    expected = model(x)
    print(f"PEFT's branch in the tutorial's class: {far(plain + lora(x), expected)}")
    torch.save(lora.state_dict(), work / "again.pth")
    convert(work / "again.pth", "-o", work / "again")
    model = PeftModel.from_pretrained(Branched(base, 64), work / "again").eval()
    print(f"the tutorial's file in PEFT: {far(model(x), expected)}")

    state = base.state_dict()
    for dtype in [torch.float16, torch.bfloat16, torch.float32, torch.float64]:
        wanted = {name: value.to(dtype) for name, value in state.items()} | {"counter": torch.tensor(3)}
        save_file(wanted, work / "w.safetensors")
        convert(work / "w.safetensors", "-o", work / "w.pth", "--overwrite")
        convert(work / "w.pth", "-o", work / "back.safetensors", "--overwrite")
        for found in (torch.load(work / "w.pth", weights_only=True), torch.load(work / "w.pth", mmap=True),
                      load_file(work / "back.safetensors")):
            assert found.keys() == wanted.keys()
            assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in wanted.items())
        print(f"weights of {dtype}: torch.load and load_file give every one")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
