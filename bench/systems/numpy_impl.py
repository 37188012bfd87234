from math import pi, sqrt

import numpy as np

F = np.float32


# Abramowitz-Stegun 7.1.26 is too coarse; this form (Numerical Recipes erfc) is good to 1e-7
ERFC = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806]
ERFC += [0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277]


def _erf(x):
    z = np.abs(x)
    t = 1 / (1 + F(0.5) * z)
    p = np.full_like(t, ERFC[-1])
    for a in ERFC[-2::-1]:
        p = p * t + F(a)
    r = 1 - t * np.exp(p - z * z)
    return np.where(x < 0, -r, r)


def _gelu_tanh(v):
    return F(0.5) * v * (1 + np.tanh(F(sqrt(2 / pi)) * (v + F(0.044715) * v * v * v)))


def _ln(x, g, b):
    m = x.mean(-1, keepdims=True)
    d = x - m
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + F(1e-5)) * g + b


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _cols(x, k, s, p):
    if p:
        x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    # n c oh ow k k
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::s, ::s]


def _conv(x, w, b, k, s, p, groups, keep=None):
    n, c = x.shape[:2]
    o = w.shape[0]
    if groups > 1:  # depthwise: add up k*k shifted products
        xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        oh, ow = (xp.shape[2] - k) // s + 1, (xp.shape[3] - k) // s + 1
        y = np.broadcast_to(b[:, None, None], (n, c, oh, ow)).copy()
        for i in range(k):
            for j in range(k):
                v = xp[:, :, i : i + s * oh : s, j : j + s * ow : s][:, :, :oh, :ow]
                y += v * w[:, 0, i, j][:, None, None]
        return y
    v = _cols(x, k, s, p)
    oh, ow = v.shape[2:4]
    m = np.ascontiguousarray(v.transpose(0, 1, 4, 5, 2, 3)).reshape(n, c * k * k, oh * ow)
    if keep is not None:
        keep.append(m)
    return (w.reshape(o, -1) @ m + b[:, None]).reshape(n, o, oh, ow)


def _pool(x, k, s, p):
    if p:
        x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))  # after a ReLU, so zeros do
    oh, ow = (x.shape[2] - k) // s + 1, (x.shape[3] - k) // s + 1
    y = None
    for i in range(k):
        for j in range(k):
            v = x[:, :, i : i + s * oh : s, j : j + s * ow : s][:, :, :oh, :ow]
            y = v.copy() if y is None else np.maximum(y, v, out=y)
    return y


def _net(nodes, P, x):
    v = [x]
    for nd in nodes[1:]:
        X, op = v[nd["x"]], nd["op"]
        if op == "conv":
            y = _conv(X, P[nd["w"]], P[nd["b"]], nd["k"], nd["stride"], nd["pad"], nd["groups"])
        elif op == "maxpool":
            y = _pool(X, nd["k"], nd["stride"], nd["pad"])
        elif op == "relu":
            y = np.maximum(X, 0)
        elif op == "add":
            y = X + v[nd["y"]]
        elif op == "gap":
            y = X.mean((2, 3))
        elif op == "flatten":
            y = X.reshape(X.shape[0], -1)
        elif op == "linear":
            y = X @ P[nd["w"]] + P[nd["b"]]
        if nd.get("act") == "relu":
            y = np.maximum(y, 0)
        elif nd.get("act") == "relu6":
            y = np.clip(y, 0, 6)
        v.append(y)
    return v[-1]


def _xent(z, lab):
    B = len(lab)
    m = z.max(-1, keepdims=True)
    e = np.exp(z - m)
    s = e.sum(-1, keepdims=True)
    r = np.arange(B)
    loss = (np.log(s[:, 0]) + m[:, 0] - z[r, lab]).mean()
    g = e / s
    g[r, lab] -= 1
    return loss, g / F(B)


def _gpt(A, P, G, dec):
    L, D, H, T = G["L"], G["D"], G["H"], G["T"]
    dh, R = D // H, (1 if dec else T)

    def lin(x, n):
        return x @ P[n + ".w"] + P[n + ".b"]

    mask = None if dec else np.triu(np.full((T, T), -1e9, F), 1)
    tok, pos = (A["next"], P["pos"][T : T + 1]) if dec else (A["tokens"], P["pos"][:T])

    def f():
        x = P["emb"][tok] + pos
        for layer in range(L):
            qkv = lin(_ln(x, P[f"h{layer}.ln1.g"], P[f"h{layer}.ln1.b"]), f"h{layer}.qkv")
            q, k, v = qkv.reshape(R, 3, H, dh).transpose(1, 2, 0, 3)
            if dec:
                k = np.concatenate([A[f"pastk{layer}"], k], 1)
                v = np.concatenate([A[f"pastv{layer}"], v], 1)
            s = q @ k.transpose(0, 2, 1) * F(1 / sqrt(dh))
            if mask is not None:
                s = s + mask
            x = x + lin((_softmax(s) @ v).transpose(1, 0, 2).reshape(R, D), f"h{layer}.proj")
            y = lin(_ln(x, P[f"h{layer}.ln2.g"], P[f"h{layer}.ln2.b"]), f"h{layer}.fc")
            x = x + lin(_gelu_tanh(y), f"h{layer}.out")
        return _ln(x, P["lnf.g"], P["lnf.b"]) @ P["head.w"]

    return f


def _mlp(A, lr):
    x, lab = A["x"], A["labels"]
    w1, b1, w2, b2 = (A[n] for n in ("w1", "b1", "w2", "b2"))

    def f():
        z = x @ w1 + b1
        a = np.maximum(z, 0)
        loss, g = _xent(a @ w2 + b2, lab)
        ga = (g @ w2.T) * (z > 0)
        for p, d in ((w2, a.T @ g), (b2, g.sum(0)), (w1, x.T @ ga), (b1, ga.sum(0))):
            p -= F(lr) * d
        return np.array([loss], F)

    return f, lambda: w2.ravel()


def _cnn(A, P, nodes, lr):
    c1, c2, lw, lb = P["c1.w"], P["c4.w"], P["l8.w"], P["l8.b"]
    x, lab = A["x"], A["labels"]
    B = len(lab)

    def pool(v):
        n, c, h, w = v.shape
        q = v.reshape(n, c, h // 2, 2, w // 2, 2)
        m = q.max((3, 5))
        return m, q == m[:, :, :, None, :, None]

    def unpool(g, eq):
        n, c, h, w = g.shape
        return (eq * g[:, :, :, None, :, None]).reshape(n, c, h * 2, w * 2)

    def f():
        k1, k2 = [], []
        m1, e1 = pool(_conv(x, c1, P["c1.b"], 5, 1, 2, 1, k1))
        r1 = np.maximum(m1, 0)
        m2, e2 = pool(_conv(r1, c2, P["c4.b"], 5, 1, 2, 1, k2))
        r2 = np.maximum(m2, 0)
        h = r2.reshape(B, -1)
        loss, g = _xent(h @ lw + lb, lab)
        gh = (g @ lw.T).reshape(r2.shape) * (m2 > 0)
        glw, glb = h.T @ g, g.sum(0)
        g2 = unpool(gh, e2)
        o2 = g2.reshape(B, 32, -1)
        gc2 = sum(o2[i] @ k2[0][i].T for i in range(B)).reshape(c2.shape)
        gb2 = g2.sum((0, 2, 3))
        turned = np.ascontiguousarray(c2.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
        gx = _conv(g2, turned, np.zeros(16, F), 5, 1, 2, 1) * (m1 > 0)
        g1 = unpool(gx, e1)
        o1 = g1.reshape(B, 16, -1)
        gc1 = sum(o1[i] @ k1[0][i].T for i in range(B)).reshape(c1.shape)
        gb1 = g1.sum((0, 2, 3))
        weights = lw, lb, c2, P["c4.b"], c1, P["c1.b"]
        for p, d in zip(weights, (glw, glb, gc2, gb2, gc1, gb1), strict=True):
            p -= F(lr) * d
        return np.array([loss], F)

    return f, lambda: c1.ravel()


def _sigmoid(v):
    return 1 / (1 + np.exp(-v))


def _lstm(A):
    def f():
        z = A["x"] @ A["wih"].T + A["h"] @ A["whh"].T + (A["bih"] + A["bhh"])
        i, f, g, o = np.split(z, 4, -1)
        return _sigmoid(o) * np.tanh(_sigmoid(f) * A["c"] + _sigmoid(i) * np.tanh(g))

    return f


def _attention(q, k, v):
    return _softmax(q @ k.transpose(0, 2, 1) * F(1 / sqrt(q.shape[-1]))) @ v


def _batchnorm(A):
    x, dy, w = A["x"], A["dy"], A["g"][:, None, None]
    axes, n = (0, 2, 3), A["x"].size // A["x"].shape[1]
    running = [np.zeros_like(A["b"]), np.ones_like(A["b"])]

    def f():
        m = x.mean(axes, keepdims=True)
        d = x - m
        var = (d * d).mean(axes, keepdims=True)
        for r, v in zip(running, (m, var * F(n / (n - 1))), strict=True):
            r += F(0.1) * (v.ravel() - r)
        s = 1 / np.sqrt(var + F(1e-5))
        hat = d * s
        sums = dy.sum(axes, keepdims=True), (dy * hat).sum(axes, keepdims=True)
        return w * s * (dy - sums[0] / F(n) - hat * (sums[1] / F(n)))

    return f


def _adam(A, copies, lr):
    state = [(A["p"].copy(), A["g"], np.zeros_like(A["p"]), np.zeros_like(A["p"]))]
    state += [tuple(v.copy() for v in state[0]) for _ in range(copies - 1)]
    t = 0

    def f():
        nonlocal t
        t += 1
        for p, g, m, v in state:
            m += F(0.1) * (g - m)
            v *= F(0.999)
            v += F(0.001) * g * g
            d = np.sqrt(v / F(1 - 0.999**t))
            d += F(1e-8)
            p -= F(lr / (1 - 0.9**t)) * m / d
        return np.array([t], F)

    return f, lambda: state[-1][0].ravel()


def _scatter(A, out):
    def f():
        y = np.zeros(out, F)
        np.add.at(y, A["idx"], A["src"])
        return y

    return f


def _topk(x, u, k):
    def f():
        rows = np.arange(len(x))[:, None]
        top = np.argpartition(x, -k, -1)[:, -k:]
        top = top[rows, np.argsort(-x[rows, top], -1, kind="stable")]
        below = _softmax(x[rows, top]).cumsum(-1) < u
        return top[rows[:, 0], below.sum(-1)].astype(F)

    return f


def _adds(x, y, n):
    def f():
        h = x
        for _ in range(n):
            h = h + y
        return h

    return f


def _ewchain(x, y):
    def f():
        v = x * 2 + 1
        return F(0.5) * v * (1 + _erf(v * F(1 / sqrt(2)))) * y

    return f


# op → (spec, inputs, parameters) → the function of one run; in TRAINING with one that gives weights
OPS = {
    "matmul": lambda s, A, P: lambda: A["a"] @ A["b"],
    "conv2d": lambda s, A, P: (
        lambda: _conv(
            A["x"], A["w"], A["b"], s["conv"]["k"], 1, s["conv"]["pad"], s["conv"]["groups"]
        )
    ),
    "softmax": lambda s, A, P: lambda: _softmax(A["x"]),
    "layernorm": lambda s, A, P: lambda: _ln(A["x"], A["g"], A["b"]),
    "ewchain": lambda s, A, P: _ewchain(A["x"], A["y"]),
    "sum": lambda s, A, P: lambda: np.array([A["x"].sum()], F),
    "reduce": lambda s, A, P: lambda: A["x"].sum(s["axis"]),
    "transpose": lambda s, A, P: lambda: np.ascontiguousarray(A["x"].T),
    "matvec": lambda s, A, P: lambda: A["a"] @ A["x"],
    "bmm": lambda s, A, P: lambda: A["a"] @ A["b"],
    "lstm": lambda s, A, P: _lstm(A),
    "attention": lambda s, A, P: lambda: _attention(A["q"], A["k"], A["v"]),
    "bntrain": lambda s, A, P: _batchnorm(A),
    "embedding": lambda s, A, P: lambda: A["table"][A["idx"]],
    "gather": lambda s, A, P: lambda: np.take_along_axis(A["x"], A["idx"], 1),
    "scatter": lambda s, A, P: _scatter(A, s["out"]),
    "topk": lambda s, A, P: _topk(A["x"], A["u"], s["k"]),
    "net": lambda s, A, P: lambda: _net(s["nodes"], P, A["x"]),
    "gpt": lambda s, A, P: _gpt(A, P, s["gpt"], False),
    "gptdecode": lambda s, A, P: _gpt(A, P, s["gpt"], True),
    "dispatch": lambda s, A, P: _adds(A["x"], A["y"], s["n"]),
}
TRAINING = {
    "mlptrain": lambda s, A, P: _mlp(A, s["lr"]),
    "cnntrain": lambda s, A, P: _cnn(A, P, s["nodes"], s["lr"]),
    "adam": lambda s, A, P: _adam(A, s["copies"], s["lr"]),
}


def make(spec, shapes, flat):
    A, P = {}, {}
    for n, s in shapes.items():
        a = np.asarray(getattr(flat, n).to_py()).reshape(s).copy()
        if n.startswith("p:"):
            P[n[2:]] = a
        else:
            A[n] = a
    if spec["op"] in TRAINING:
        return TRAINING[spec["op"]](spec, A, P)
    return OPS[spec["op"]](spec, A, P), None
