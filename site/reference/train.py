"""Train the demo's network with real PyTorch and write down what the pages are compared with.

    python site/reference/train.py            # needs torch; some seconds

Writes data/digits.ptjs (the trained weights), data/logits.bin (PyTorch's float32 logits of the
held-out images) and data/reference.json (how it went).
"""

import json
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parent.parent
DATA = SITE / "data"
sys.path[:0] = [str(SITE), str(SITE.parent / "package")]

import model as demo  # noqa: E402
import torch  # noqa: E402
from tabgrad.io import save_ptjs  # noqa: E402


def load_digits():
    """Images (N, 1, 8, 8) from 0 to 1, labels, and how many of them are for training."""
    about = json.loads((DATA / "digits.json").read_text())
    raw = torch.frombuffer(bytearray((DATA / "digits.bin").read_bytes()), dtype=torch.uint8)
    n, size = about["count"], about["height"] * about["width"]
    images = raw[: n * size].reshape(n, 1, about["height"], about["width"]) / about["white"]
    return images, raw[n * size :].long(), about["train"]


def main():
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    images, labels, train = load_digits()
    torch.manual_seed(demo.SEED)
    model = demo.Net()
    losses = [0.0] * demo.EPOCHS
    for epoch, loss, count in demo.train(model, images[:train], labels[:train]):
        losses[epoch] += loss.item() * count / train
    model.eval()
    with torch.no_grad():
        logits = model(images[train:])
    accuracy = (logits.argmax(1) == labels[train:]).float().mean().item()
    save_ptjs(model.state_dict(), DATA / "digits.ptjs")
    (DATA / "logits.bin").write_bytes(logits.numpy().astype("<f4").tobytes())
    about = {
        "torch": torch.__version__,
        "seed": demo.SEED,
        "epochs": demo.EPOCHS,
        "batch": demo.BATCH,
        "learning_rate": demo.LEARNING_RATE,
        "parameters": sum(p.numel() for p in model.parameters()),
        "held_out_accuracy": accuracy,
        "loss_per_epoch": losses,
    }
    (DATA / "reference.json").write_text(json.dumps(about, indent=2) + "\n")
    print(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
