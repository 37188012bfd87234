"""The demo's network and its training, in plain PyTorch.

The desktop runs this file with PyTorch (``reference/train.py``). The pages run the same file with
tabgrad, which they enter in ``sys.modules`` under the name ``torch``.
"""

import torch
from torch import nn

SEED, EPOCHS, BATCH, LEARNING_RATE = 0, 6, 64, 2e-3


class Net(nn.Module):
    """Handwritten digits: (N, 1, 8, 8) grey values from 0 to 1 in, (N, 10) logits out."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def train(model, images, labels, epochs=EPOCHS, batch=BATCH, lr=LEARNING_RATE):
    """Train with Adam; after each step yield its epoch, its loss and how many images it saw."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for epoch in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch):
            loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield epoch, loss.detach(), len(chosen)
