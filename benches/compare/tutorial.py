#!/usr/bin/env python3
"""The tutorial's script: VGG19 and a parallel `Lora(224*224*3, 1000)` in PyTorch, as it was published, with its paths
and its base's weights as arguments. `python3 tutorial.py DATA WEIGHTS OUT.pth [cpu|cuda]`."""
import os
import sys

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn, optim
from torch.utils import data
from torchvision import models
from torchvision.transforms import transforms

data_path, weights, out = sys.argv[1:4]
device = sys.argv[4] if len(sys.argv) > 4 else "cpu"
batch_size, lr, epochs = 5, 1e-3, 20
categories = models.VGG19_Weights.IMAGENET1K_V1.value.meta["categories"]
transform = transforms.Compose([
    transforms.Resize(256),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
])


class LoraDataset(data.Dataset):
    def __init__(self, data_path):
        self.files, self.labels = [], []
        for folder in os.listdir(data_path):
            name = os.path.join(data_path, folder)
            if not os.path.isdir(name):
                continue
            for file in os.listdir(name):
                self.files.append(os.path.join(name, file))
                self.labels.append(categories.index(folder))

    def __getitem__(self, item):
        image = Image.open(self.files[item]).convert("RGB")
        label = torch.zeros(1000, dtype=torch.float64)
        label[self.labels[item]] = 1.0
        return transform(image), label

    def __len__(self):
        return len(self.files)


class Lora(nn.Module):
    def __init__(self, m, n, rank=10):
        super().__init__()
        self.m = m
        self.A = nn.Parameter(torch.randn(m, rank))
        self.B = nn.Parameter(torch.zeros(rank, n))

    def forward(self, inputs):
        inputs = inputs.view(-1, self.m)
        return torch.mm(torch.mm(inputs, self.A), self.B)


# The initialisation would be overwritten at once: it is left out, which is to PyTorch's advantage.
vgg19 = models.VGG(models.vgg.make_layers(models.vgg.cfgs["E"]), init_weights=False)
vgg19.load_state_dict(load_file(weights))
for params in vgg19.parameters():
    params.requires_grad = False
vgg19.eval().to(device)
lora = Lora(224 * 224 * 3, 1000).to(device)
lora_loader = data.DataLoader(LoraDataset(data_path), batch_size=batch_size, shuffle=True)
optimizer = optim.Adam(lora.parameters(), lr=lr)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(epochs):
    for image, label in lora_loader:
        image, label = image.to(device), label.to(device)
        pred = vgg19(image) + lora(image)
        loss = loss_fn(pred, label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"loss: {loss.item()}")
with torch.no_grad():
    for image, _ in data.DataLoader(LoraDataset(data_path)):
        image = image.to(device)
        print(categories[torch.argmax(vgg19(image) + lora(image), dim=1).item()])
torch.save(lora.state_dict(), out)
