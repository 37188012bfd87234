"""The workloads as a user of tabgrad writes them; ``make`` gives the functions the page calls."""

from array import array

import tabgrad as torch
from pyodide.ffi import to_js
from tabgrad import nn, quantization
from tabgrad.nn import functional as F

try:
    import numpy
except ModuleNotFoundError:  # the cold start does without
    numpy = None

use_compile = False


async def start(device, compile):
    global use_compile
    use_compile = compile
    await torch.init(device)


def info():
    return {"version": torch.__version__, "device": str(torch.get_default_device())}


# --- models ---------------------------------------------------------------------------------------


class CNN(nn.Sequential):
    """The small CNN; its layers carry the names of the benchmark's parameters."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 16, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 8 * 8, 10),
        )
        self.named = {"c1": self[0], "c4": self[3], "l8": self[7]}


class Net(nn.Module):
    """A feed-forward net with residual connections, from its list of nodes."""

    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes
        self.named = {}
        for k, node in enumerate(nodes):
            layer = self.layer(node)
            if layer is not None:
                self.add_module(f"layer{k}", layer)
                if "w" in node:
                    self.named[node["w"].removesuffix(".w")] = layer
        self.layers = [getattr(self, f"layer{k}", None) for k in range(len(nodes))]

    @staticmethod
    def layer(node):
        op = node["op"]
        if op == "conv":
            cin, cout, k = node["cin"], node["cout"], node["k"]
            more = {"stride": node["stride"], "padding": node["pad"], "groups": node["groups"]}
            return nn.Conv2d(cin, cout, k, **more)
        if op == "maxpool":
            return nn.MaxPool2d(node["k"], node["stride"], node["pad"])
        if op == "linear":
            return nn.Linear(node["cin"], node["cout"])
        return None

    def forward(self, x):
        values = [x]
        for node, layer in zip(self.nodes[1:], self.layers[1:], strict=True):
            y = values[node["x"]]
            if layer is not None:
                y = layer(y)
            elif node["op"] == "add":
                y = y + values[node["y"]]
            elif node["op"] == "gap":
                y = y.mean((2, 3))
            elif node["op"] == "flatten":
                y = y.flatten(1)
            if node["op"] == "relu" or node.get("act") == "relu":
                y = F.relu(y)
            elif node.get("act") == "relu6":
                y = F.relu6(y)
            values.append(y)
        return values[-1]


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc, self.out = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x, past=None):
        rows, dim = x.shape
        qkv = self.qkv(self.ln1(x)).view(rows, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(1, 2, 0, 3).unbind(0)
        if past is not None:
            k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x = x + self.proj(y.transpose(0, 1).reshape(rows, dim))
        return x + self.out(F.gelu(self.fc(self.ln2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, L, D, H, T, V):
        super().__init__()
        self.tokens, self.places = nn.Embedding(V, D), nn.Embedding(T + 1, D)
        self.blocks = nn.ModuleList([Block(D, H) for _ in range(L)])
        self.lnf, self.head = nn.LayerNorm(D), nn.Linear(D, V, bias=False)
        self.named = {"emb": self.tokens, "pos": self.places, "lnf": self.lnf, "head": self.head}
        for k, block in enumerate(self.blocks):
            self.named |= {f"h{k}.{name}": layer for name, layer in block.named_children()}

    def forward(self, tokens, places, past=None):
        x = self.tokens(tokens) + self.places(places)
        for k, block in enumerate(self.blocks):
            x = block(x, past and past[k])
        return self.head(self.lnf(x))


def load(model, params):
    """The benchmark's parameters as a state_dict; a linear layer's weight is (in, out) there."""
    state = {}
    names = {id(layer): name for name, layer in model.named_modules()}
    ends = {"w": "weight", "g": "weight", "b": "bias"}
    for name, value in params.items():
        key, _, end = name.rpartition(".") if "." in name else (name, "", "w")
        layer = model.named[key]
        turned = isinstance(layer, nn.Linear) and end == "w"
        state[f"{names[id(layer)]}.{ends[end]}"] = value.t() if turned else value
    model.load_state_dict(state)
    return model


# --- workloads: op → function of (spec, inputs, parameters) that gives what one run calls, for
# models with what it is called with ---------------------------------------------------------------


def matmul(spec, x, params):
    return lambda: x["a"] @ x["b"]


def conv2d(spec, x, params):
    pad, groups = spec["conv"]["pad"], spec["conv"]["groups"]
    return lambda: F.conv2d(x["x"], x["w"], x["b"], padding=pad, groups=groups)


def softmax(spec, x, params):
    return lambda: torch.softmax(x["x"], -1)


def layernorm(spec, x, params):
    return lambda: F.layer_norm(x["x"], x["g"].shape, x["g"], x["b"])


def ewchain(spec, x, params):
    return lambda: F.gelu(x["x"] * 2 + 1) * x["y"]


def sum(spec, x, params):
    return lambda: x["x"].sum()


def reduce(spec, x, params):
    return lambda: x["x"].sum(spec["axis"])


def transpose(spec, x, params):
    return lambda: x["x"].t().contiguous()


def matvec(spec, x, params):
    return lambda: x["a"] @ x["x"]


def matvecpacked(spec, x, params):
    rows, columns = x["a"].shape
    layer = nn.Linear(columns, rows, bias=False)
    layer.load_state_dict({"weight": x["a"]})
    if spec["bits"] == 16:
        weight = layer.half().weight.detach()
        return lambda: x["x"] @ weight.t().float()
    config = quantization.int8_weight_only if spec["bits"] == 8 else quantization.int4_weight_only
    quantization.quantize_(layer, config(spec["group_size"]))
    x = x["x"].detach()
    return lambda: layer(x)


def bmm(spec, x, params):
    return lambda: torch.bmm(x["a"], x["b"])


def lstm(spec, x, params):
    cell = nn.LSTMCell(spec["D"], spec["H"])
    weights = {"weight_ih": x["wih"], "weight_hh": x["whh"]}
    cell.load_state_dict(weights | {"bias_ih": x["bih"], "bias_hh": x["bhh"]})
    return lambda: cell(x["x"], (x["h"], x["c"]))[0]


def attention(spec, x, params):
    return lambda: F.scaled_dot_product_attention(x["q"], x["k"], x["v"])


def embedding(spec, x, params):
    return lambda: F.embedding(x["idx"], x["table"])


def gather(spec, x, params):
    return lambda: x["x"].gather(1, x["idx"])


def scatter(spec, x, params):
    rows, width = spec["out"]
    return lambda: torch.zeros(rows, width).index_add(0, x["idx"], x["src"])


def topk(spec, x, params):
    def sample():
        logits, tokens = x["x"].topk(spec["k"])
        below = torch.softmax(logits, -1).cumsum(-1) < x["u"]
        return tokens.gather(1, below.sum(-1, keepdim=True)).squeeze(1)

    return sample


def net(spec, x, params):
    small = spec["id"].startswith("cnn")
    model = load(CNN() if small else Net(spec["nodes"]), params).eval()
    return model, x["x"]


def gpt(spec, x, params):
    model = load(GPT(**spec["gpt"]), params).eval()
    places = torch.arange(spec["gpt"]["T"])
    return model, x["tokens"], places


def gptdecode(spec, x, params):
    model = load(GPT(**spec["gpt"]), params).eval()
    places = torch.tensor([spec["gpt"]["T"]])
    past = [(x[f"pastk{k}"], x[f"pastv{k}"]) for k in range(spec["gpt"]["L"])]
    return model, x["next"], places, past


def dispatch(spec, x, params):
    if (spec["mode"] == "graph") != use_compile:
        raise NotImplementedError(
            "not there: without compile there are single operations only, with it none"
        )

    def adds():
        h = x["x"]
        for _ in range(spec["n"]):
            h = h + x["y"]
        return h

    return adds


# --- training: the function of one step, and what to compare after some steps ---------------------


def steps(model, optimizer, x):
    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x["x"]), x["labels"])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def mlptrain(spec, x, params):
    n0, n1, n2 = spec["sizes"]
    model = nn.Sequential(nn.Linear(n0, n1), nn.ReLU(), nn.Linear(n1, n2))
    model.named = {"1": model[0], "2": model[2]}
    load(model, {"1.w": x["w1"], "1.b": x["b1"], "2.w": x["w2"], "2.b": x["b2"]})
    optimizer = torch.optim.SGD(model.parameters(), lr=spec["lr"])
    return steps(model, optimizer, x), lambda: model[2].weight.t()


def cnntrain(spec, x, params):
    model = load(CNN(), params)
    optimizer = torch.optim.SGD(model.parameters(), lr=spec["lr"])
    return steps(model, optimizer, x), lambda: model[0].weight


def bntrain(spec, x, params):
    norm = nn.BatchNorm2d(x["x"].shape[1])
    with torch.no_grad():
        norm.weight.copy_(x["g"])
        norm.bias.copy_(x["b"])
    inputs = x["x"].requires_grad_()

    def step():
        inputs.grad = None
        norm.zero_grad()
        norm(inputs).backward(x["dy"])
        return inputs.grad

    return step, None


def adam(spec, x, params):
    weights = [nn.Parameter(x["p"].clone()) for _ in range(spec["copies"])]
    for p in weights:
        p.grad = x["g"].clone()
    optimizer = torch.optim.Adam(weights, lr=spec["lr"])

    def step():
        optimizer.step()
        return weights[-1].detach()

    return step, lambda: weights[-1]


TRAINING = {"mlptrain": mlptrain, "cnntrain": cnntrain, "bntrain": bntrain, "adam": adam}
INFERENCE = [
    matmul, conv2d, softmax, layernorm, ewchain, sum, reduce, transpose, matvec, matvecpacked, bmm,
    lstm, attention, embedding, gather, scatter, topk, net, gpt, gptdecode, dispatch,
]  # fmt: skip
BY_NAME = {f.__name__: f for f in INFERENCE}


# --- what the page calls ----------------------------------------------------------------------


def tensors(data):
    """The page's typed arrays as tensors of the default device."""
    inputs, params = {}, {}
    for name, (values, shape) in data.items():
        whole = name in ("labels", "tokens", "next", "idx")
        x = torch.frombuffer(values, dtype=torch.int32 if whole else torch.float32).reshape(shape)
        x = x.long() if whole else x
        if name.startswith("p:"):
            params[name[2:]] = x
        else:
            inputs[name] = x
    return inputs, params


def read(y):
    """A tensor's values as a typed array of the page's, by numpy where it is loaded."""
    if y.dtype != torch.float32:
        y = y.float()
    if numpy is None:
        return to_js(array("f", y.flatten().tolist()))
    return to_js(y.numpy().ravel())


def wait(y):
    """Waits for a result on the device: reads one element."""
    y.detach().flatten()[0].item()


def make(spec, data):
    inputs, params = tensors(data)
    op, args, last = spec["op"], (), None
    if op in TRAINING:
        step, last = TRAINING[op](spec, inputs, params)
    else:
        step = BY_NAME[op](spec, inputs, params)
        if isinstance(step, tuple):
            step, *args = step
        step = torch.no_grad()(step)
    if use_compile:
        step = torch.compile(step)

    def run():
        y = step(*args)
        torch.runtime.step_done()  # runs what is pending, as the end of an optimizer's step does
        return y

    def both():
        return read(step(*args))

    def check():
        losses = [step() for _ in range(spec["steps"])]
        values = [] if op == "adam" else [y.item() for y in losses]
        return to_js(array("f", values + last().detach().flatten().tolist()))

    doors = {"run": run, "read": read, "wait": wait, "both": both}
    return doors | {"check": check if last else None}
