"""What ``make demo`` runs in the page: plain PyTorch code, measured and compared with PyTorch.

``page`` is demo.js. Everything shown is measured here; what falls short of the promise raises.
"""

import array
import asyncio
import json
import statistics
import sys
import time

import page
import tabgrad
from pyodide.ffi import to_js
from pyodide.http import pyfetch

sys.modules["torch"] = tabgrad

import model as demo  # noqa: E402
import torch  # noqa: E402


async def fetched(name):
    answer = await pyfetch(f"data/{name}")
    answer.raise_for_status()
    return await answer.bytes()


async def load_digits():
    """Images (N, 1, 8, 8) from 0 to 1, labels, and how many of them are for training."""
    about, raw = json.loads(await fetched("digits.json")), await fetched("digits.bin")
    n, size = about["count"], about["height"] * about["width"]
    images = torch.tensor(list(raw[: n * size]), dtype=torch.float32) / about["white"]
    labels = torch.tensor(list(raw[n * size :]))
    return images.reshape(n, 1, about["height"], about["width"]), labels, about["train"]


async def logits_of(model, images):
    """The network's answers as nested lists; awaiting works in every browser."""
    model.eval()
    with torch.no_grad():
        return await model(images).tolist_async()


def winners(logits):
    return [row.index(max(row)) for row in logits]


def share(answers, labels):
    return sum(a == b for a, b in zip(answers, labels, strict=True)) / len(labels)


async def compare_with_torch(model, images, labels):
    """Classify the unseen images with PyTorch's weights; hold every logit against PyTorch's own."""
    await model.load_state_dict("data/digits.ptjs")
    logits = await logits_of(model, images)
    page.result("seconds to first result", page.seconds())
    page.result("MB loaded", page.bytes() / 1e6)
    flat = array.array("f", await fetched("logits.bin"))
    theirs = [list(flat[k : k + 10]) for k in range(0, len(flat), 10)]
    off = max(
        abs(a - b)
        for ours, ref in zip(logits, theirs, strict=True)
        for a, b in zip(ours, ref, strict=True)
    )
    same = sum(a == b for a, b in zip(winners(logits), winners(theirs), strict=True))
    accuracy = share(winners(logits), labels)
    page.result("accuracy with PyTorch's weights", accuracy)
    page.result("largest difference of a logit", off)
    page.result("same answer as PyTorch", f"{same} of {len(labels)}")
    page.line(
        f"PyTorch's weights: {accuracy:.2%} of {len(labels)} unseen digits right; "
        f"logits within {off:.1e} of PyTorch's, same answer on {same}"
    )
    if not off <= 1e-4:
        raise AssertionError(f"a logit differs from PyTorch's by {off}, more than 1e-4")
    if same != len(labels):
        raise AssertionError(f"{len(labels) - same} answers differ from PyTorch's")


async def time_inference(model, images, batch, repeats):
    """Median milliseconds per image, from tensors to Python numbers."""
    times = []
    for k in range(repeats + 2):  # the first two build and warm up
        start = time.perf_counter()
        await logits_of(model, images[k * batch % 256 :][:batch])
        times.append(time.perf_counter() - start)
    ms = statistics.median(times[2:]) * 1000 / batch
    page.result(f"ms per image, batch {batch}", ms)
    page.line(f"batch {batch}: {ms:.3f} ms per image, median of {repeats}")


async def train(images, labels, reference):
    """From scratch, with PyTorch's seed: the same random numbers, so nearly the same losses."""
    steps = -(-len(images) // demo.BATCH)
    page.chart(steps * demo.EPOCHS, to_js(reference["loss_per_epoch"]))
    torch.manual_seed(reference["seed"])
    model = demo.Net()
    training = demo.train(model, images, labels)
    seconds, off, later = [], [], ([], [])
    for epoch in range(demo.EPOCHS):
        start, losses, counts = time.perf_counter(), [], []
        for step in range(steps):
            with torch.profiler.profile() as cost:
                _, loss, count = next(training)
            losses.append(loss)
            counts.append(count)
            if epoch > 1:  # by then every batch has been planned, the short last one too
                later[step in (0, steps - 1)].append(cost.counts)
            done = (epoch * steps + step + 1) / (steps * demo.EPOCHS)
            page.progress(f"Training, epoch {epoch + 1} of {demo.EPOCHS}…", 0.4 + 0.6 * done)
            await asyncio.sleep(0)  # lets the page draw and answer
        values = await torch.stack(losses).tolist_async()
        seconds.append(time.perf_counter() - start)
        mean = sum(v * n for v, n in zip(values, counts, strict=True)) / len(images)
        off.append(abs(mean - reference["loss_per_epoch"][epoch]))
        page.losses(to_js(values))
        page.line(
            f"epoch {epoch + 1}: loss {mean:.4f}, {off[-1]:.1e} off PyTorch's, {seconds[-1]:.2f} s"
        )
    page.result("seconds per epoch", statistics.median(seconds))
    page.result("largest difference of an epoch's loss", max(off))
    report_steps(*later)
    return model


def report_steps(steps, edges):
    """Whether later steps found their plans, and how often they crossed to JavaScript. The first
    step of an epoch also brings the new order of the images; the last is a shorter batch, which
    always lies at one place and need not be cut out."""
    both = steps + edges
    found, built = (sum(c[name] for c in both) for name in ("plan_hits", "plans_built"))
    calls, more = ({c["bridge_calls"] for c in some} for some in (steps, edges))
    page.result("later steps: plans found", f"{found} of {len(both)}")
    page.result("later steps: bridge calls", max(calls))
    page.result("first and last of an epoch: bridge calls", max(more))
    page.line(
        f"{len(both)} later steps: {found} plans found, {built} built; bridge calls per step "
        f"{span(calls)}, for the first and last of an epoch {span(more)}"
    )
    if built or found < len(both):
        raise AssertionError(f"{len(both)} later steps built {built} plans and found {found}")
    if len(calls) > 1 or max(calls) > 2 or max(more) > 6:
        raise AssertionError(f"training steps cross the bridge {span(calls | more)} times")


def span(numbers):
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


async def main():
    reference = json.loads(await fetched("reference.json"))
    images, labels, n = await load_digits()
    seen, unseen, truth = images[:n], images[n:], await labels[n:].tolist_async()

    page.progress("Classifying unseen digits…", 0.3)
    model = demo.Net()
    await compare_with_torch(model, unseen, truth)
    await time_inference(model, unseen, 1, 20)
    await time_inference(model, unseen, 64, 10)

    model = await train(seen, labels[:n], reference)
    accuracy = share(winners(await logits_of(model, unseen)), truth)
    page.result("accuracy trained here", accuracy)
    page.line(
        f"trained here: {accuracy:.2%} of the unseen digits right "
        f"(PyTorch, same seed: {reference['held_out_accuracy']:.2%})"
    )
    if accuracy < 0.97:
        raise AssertionError(f"trained here, the network gets only {accuracy:.2%} right")


page.line(f"tabgrad {torch.__version__} installed after {page.seconds():.1f} s")
torch.set_default_device(page.device)
await main()  # noqa: F704
