"""What the front page's JavaScript calls: choose a device, classify, train a few steps at a time.

``Net``, ``train`` and the constants come from model.py, which the page runs before this.
"""

import json
import time

import torch
from pyodide.http import pyfetch

digits = {}  # images and labels, on the current device
networks = {}  # "torch": PyTorch's weights; "here": the one trained in this tab
run = {}  # the training run that goes on


async def fetched(url):
    answer = await pyfetch(url)
    answer.raise_for_status()
    return await answer.bytes()


async def use(device, base):
    """Work on a device from now on; ``base`` is the folder of the data."""
    start = time.perf_counter()
    await torch.init(device)
    torch.set_default_device(device)
    about, raw = json.loads(await fetched(f"{base}digits.json")), await fetched(f"{base}digits.bin")
    n, size, held_out = about["count"], about["height"] * about["width"], about["train"]
    images = torch.tensor(list(raw[: n * size]), dtype=torch.float32) / about["white"]
    images = images.reshape(n, 1, about["height"], about["width"])
    labels = torch.tensor(list(raw[n * size :]))
    digits.update(seen=(images[:held_out], labels[:held_out]))
    digits.update(unseen=(images[held_out:], labels[held_out:]))
    networks.clear()
    networks["torch"] = Net()  # noqa: F821
    await networks["torch"].load_state_dict(f"{base}digits.ptjs")
    networks["torch"].eval()
    await classify(torch.zeros(size))  # the first run compiles the kernels
    return {
        "device": torch.get_default_device().type,
        "unseen": n - held_out,
        "seconds": time.perf_counter() - start,
    }


async def sample(k):
    """The grey values of an unseen digit."""
    return digits["unseen"][0][k].flatten()


async def classify(pixels, network="torch"):
    """Probabilities of the ten digits for 64 grey values."""
    start = time.perf_counter()
    with torch.no_grad():
        answer = networks[network](pixels.reshape(1, 1, 8, 8)).softmax(1)
    (probabilities,) = await answer.tolist_async()
    return {"probabilities": probabilities, "ms": (time.perf_counter() - start) * 1000}


def begin():
    """A new network and its training run."""
    torch.manual_seed(SEED)  # noqa: F821
    networks["here"] = Net()  # noqa: F821
    images, labels = digits["seen"]
    run["steps"] = train(networks["here"], images, labels)  # noqa: F821
    per_epoch = -(-len(images) // BATCH)  # noqa: F821
    return {"epochs": EPOCHS, "per_epoch": per_epoch}  # noqa: F821


async def advance(count):
    """Go on by some steps; their losses are read together."""
    networks["here"].train()
    losses = [loss for _, (_, loss, _) in zip(range(count), run["steps"], strict=False)]
    return await torch.stack(losses).tolist_async() if losses else []


async def accuracy():
    """Share of the unseen digits that the network trained here gets right."""
    images, labels = digits["unseen"]
    with torch.no_grad():
        answers = networks["here"].eval()(images).argmax(1)
    return await (answers == labels).float().mean().item_async()
