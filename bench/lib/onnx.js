// A small ONNX writer: enough of the protobuf encoding to build the benchmark's graphs in the page.
const enc = new TextEncoder();
class Buf {
  parts = [];
  n = 0;
  raw(u8) {
    this.parts.push(u8);
    this.n += u8.length;
    return this;
  }
  varint(v) {
    const b = [];
    let x = BigInt.asUintN(64, BigInt(v));
    do {
      let c = Number(x & 127n);
      x >>= 7n;
      if (x) c |= 128;
      b.push(c);
    } while (x);
    return this.raw(Uint8Array.from(b));
  }
  int(f, v) {
    return this.varint(f << 3).varint(v);
  }
  bytes(f, u8) {
    return this.varint((f << 3) | 2)
      .varint(u8.length)
      .raw(u8);
  }
  str(f, s) {
    return this.bytes(f, enc.encode(s));
  }
  msg(f, b) {
    this.varint((f << 3) | 2).varint(b.n);
    for (const p of b.parts) this.raw(p);
    return this;
  }
  float(f, v) {
    return this.varint((f << 3) | 5).raw(new Uint8Array(new Float32Array([v]).buffer));
  }
  done() {
    const o = new Uint8Array(this.n);
    let i = 0;
    for (const p of this.parts) {
      o.set(p, i);
      i += p.length;
    }
    return o;
  }
}
const FLOAT = 1,
  INT64 = 7;
const tensor = (name, dims, data) => {
  const b = new Buf();
  for (const d of dims) b.int(1, d);
  b.int(2, data instanceof Float32Array ? FLOAT : INT64)
    .str(8, name)
    .bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return b;
};
const valueInfo = (name, dims, type) => {
  const sh = new Buf();
  for (const d of dims) sh.msg(1, new Buf().int(1, d));
  return new Buf().str(1, name).msg(2, new Buf().msg(1, new Buf().int(1, type).msg(2, sh)));
};
function attr(name, v) {
  const b = new Buf().str(1, name);
  if (v && v.float !== undefined) b.float(2, v.float).int(20, 1);
  else if (typeof v === "string") b.bytes(4, enc.encode(v)).int(20, 3);
  else if (Array.isArray(v)) {
    for (const x of v) b.int(8, x);
    b.int(20, 7);
  } else b.int(3, v).int(20, 2);
  return b;
}
export class Graph {
  nodes = [];
  inits = [];
  inputs = [];
  outputs = [];
  k = 0;
  contrib = false;
  input(name, dims, type = FLOAT) {
    this.inputs.push(valueInfo(name, dims, type));
    return name;
  }
  init(data, dims, name = `w${this.k++}`) {
    this.inits.push(tensor(name, dims, data));
    return name;
  }
  ints(v) {
    return this.init(BigInt64Array.from(v, BigInt), [v.length]);
  }
  op(type, ins, attrs = {}, out = `t${this.k++}`, domain = "") {
    const outs = Array.isArray(out) ? out : [out];
    const b = new Buf();
    for (const i of ins) b.str(1, i);
    for (const o of outs) b.str(2, o);
    b.str(3, `n${this.k++}`).str(4, type);
    for (const a in attrs) b.msg(5, attr(a, attrs[a]));
    if (domain) {
      b.str(7, domain);
      this.contrib = true;
    }
    this.nodes.push(b);
    return out;
  }
  output(name, dims, type = FLOAT) {
    this.outputs.push(valueInfo(name, dims, type));
    return name;
  }
  model(opset = 20) {
    const g = new Buf();
    for (const n of this.nodes) g.msg(1, n);
    g.str(2, "bench");
    for (const i of this.inits) g.msg(5, i);
    for (const i of this.inputs) g.msg(11, i);
    for (const o of this.outputs) g.msg(12, o);
    const m = new Buf()
      .int(1, 9)
      .str(2, "bench")
      .msg(7, g)
      .msg(8, new Buf().str(1, "").int(2, opset));
    if (this.contrib) m.msg(8, new Buf().str(1, "com.microsoft").int(2, 1));
    return m.done();
  }
}
export { FLOAT, INT64 };
