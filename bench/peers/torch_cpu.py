"""Times PyTorch's matrix products on the CPU for CpuBench, which talks to it by lines.

  threads N        sets the number of threads;  answers "ready"
  shape T M N K    makes operands of type T;    answers "ready" and the names of the products
  time NAME S      repeats a product for S s;   answers seconds per product
"""

import sys
import time

import torch

FAR = 400_000_000  # weights in rotation of which none is found in a cache, for a few rows


def several(weight, copies):
    return [weight] + [weight.clone() for _ in range(copies - 1)]


def products(kind, m, n, k):
    size = {"f32": 4, "bf16": 2, "s8": 1, "int4": 0.5}[kind]
    copies = max(1, min(16, int(FAR // (size * n * k)))) if m <= 16 else 1
    if kind in ("f32", "bf16"):
        dtype = torch.float32 if kind == "f32" else torch.bfloat16
        x = torch.rand(m, k).mul_(2).sub_(1).to(dtype)
        w = several(torch.rand(n, k).mul_(2).sub_(1).to(dtype), copies)
        return {"matmul": [lambda w=w: x @ w.t() for w in w]}
    if kind == "s8":
        whole = lambda rows: torch.randint(-127, 128, (rows, k), dtype=torch.int8)
        xi, w = whole(m), several(whole(n), copies)
        scale, zero = torch.full((n,), 0.01), torch.zeros(n, dtype=torch.int)
        packed = [torch.ops.onednn.qlinear_prepack(w.t().contiguous(), None) for w in w]

        def linear(x, w, zero_point):
            return torch.ops.onednn.qlinear_pointwise(
                x, 0.01, zero_point, w, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
            )

        xu = xi.view(torch.uint8)
        return {
            "int_mm": [lambda w=w: torch._int_mm(xi, w.t()) for w in w],
            "qlinear s8": [lambda w=w: linear(xi, w, 0) for w in packed],
            "qlinear u8": [lambda w=w: linear(xu, w, 128) for w in packed],
        }
    x = torch.rand(m, k).to(torch.bfloat16)
    codes = torch.randint(0, 16, (n, k), dtype=torch.int32)
    w = several(torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1), copies)
    scales = torch.rand(k // 128, n, 2).to(torch.bfloat16)
    product = torch.ops.aten._weight_int4pack_mm_for_cpu
    return {"int4pack_mm": [lambda w=w: product(x, w, 128, scales) for w in w]}


def works(call):
    try:
        call()
        return True
    except Exception as problem:
        print("#", str(problem).split("\n")[0][:150], file=sys.stderr, flush=True)
        return False


def measure(calls, seconds):
    start, count = time.perf_counter(), 0
    while True:
        calls[count % len(calls)]()
        count += 1
        now = time.perf_counter()
        if now - start >= seconds:
            return (now - start) / count


def main():
    calls = {}
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "threads":
            torch.set_num_threads(int(rest[0]))
            answer = "ready"
        elif word == "shape":
            calls.clear()
            try:
                calls = products(rest[0], *map(int, rest[1:]))
            except Exception as problem:
                print("#", rest, str(problem).split("\n")[0][:150], file=sys.stderr, flush=True)
            calls = {name: work for name, work in calls.items() if works(work[0])}
            answer = ";".join(["ready", *calls])
        else:
            answer = measure(calls[" ".join(rest[:-1])], float(rest[-1]))
        print(answer, flush=True)


with torch.no_grad():
    main()
