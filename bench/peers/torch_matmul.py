"""Times PyTorch's 8-bit and bfloat16 matrix products for CudaBench, which talks to it by lines.

  shape M N K   makes operands and graphs;  answers "ready" and the names of the products
  time NAME     replays one graph;          answers microseconds per product
  call NAME     calls without waiting;      answers microseconds of host time per call
  copy          copies 2 GiB on the GPU;    answers bytes read and written per second
"""

import sys
import time

import torch

L2_BYTES = 200_000_000  # weights in rotation, so that none is found in the cache


def dequantized_int8(a, b, scale_a, scale_b):
    return (torch._int_mm(a, b.t()).float() * scale_a * scale_b).to(torch.bfloat16)


fused_int8 = torch.compile(dequantized_int8, dynamic=True) if "compile" in sys.argv else None


def products(m, n, k):
    copies = max(2, min(16, -(-L2_BYTES // (n * k))))
    uniform = lambda rows: (torch.rand(rows, k, device="cuda") * 2 - 1).mul_(448).to(torch.float8_e4m3fn)
    whole = lambda rows: torch.randint(-127, 128, (rows, k), dtype=torch.int8, device="cuda")
    normal = lambda rows: torch.randn(rows, k, device="cuda", dtype=torch.bfloat16)
    a8, ai, ab = uniform(m), whole(m), normal(m)
    w8, wi, wb = ([make(n) for _ in range(copies)] for make in (uniform, whole, normal))
    sa, sb = torch.rand(m, 1, device="cuda"), torch.rand(1, n, device="cuda")
    one = torch.ones((), device="cuda")

    def scaled(w, a, b, fast):
        return torch._scaled_mm(
            a8, w.t(), scale_a=a, scale_b=b, out_dtype=torch.bfloat16, use_fast_accum=fast
        )

    calls = {
        "e4m3 rowwise fast": [lambda w=w: scaled(w, sa, sb, True) for w in w8],
        "e4m3 rowwise precise": [lambda w=w: scaled(w, sa, sb, False) for w in w8],
        "e4m3 tensorwise fast": [lambda w=w: scaled(w, one, one, True) for w in w8],
        "e4m3 tensorwise precise": [lambda w=w: scaled(w, one, one, False) for w in w8],
        "bf16": [lambda w=w: torch.mm(ab, w.t()) for w in wb],
    }
    if m > 16:
        calls["int8 raw"] = [lambda w=w: torch._int_mm(ai, w.t()) for w in wi]
        calls["int8"] = [lambda w=w: dequantized_int8(ai, w, sa, sb) for w in wi]
        if fused_int8:
            calls["int8 compiled"] = [lambda w=w: fused_int8(ai, w, sa, sb) for w in wi]
    return calls


def elapsed(action):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    action()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) * 1e3


def record(calls, microseconds):
    for call in calls[:2]:
        call()
    torch.cuda.synchronize()
    one = max(elapsed(lambda: (calls[0](), calls[-1]())) / 2, 3)
    count = min(200, max(len(calls), int(microseconds / one)))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
        for i in range(count):
            calls[i % len(calls)]()
    return graph, count


def main():
    calls, graphs = {}, {}
    for line in sys.stdin:
        word, *rest = line.split(maxsplit=1)
        if word == "shape":
            calls, graphs = {}, {}
            torch.cuda.empty_cache()
            calls = products(*map(int, rest[0].split()))
            for name, list_of_calls in calls.items():
                graphs[name] = record(list_of_calls, 4000)
            answer = "ready;" + ";".join(calls)
        elif word == "time":
            graph, count = graphs[rest[0].strip()]
            answer = elapsed(graph.replay) / count
        elif word == "call":
            actions = calls[rest[0].strip()]
            torch.cuda.synchronize()
            start = time.perf_counter()
            for i in range(100):
                actions[i % len(actions)]()
            answer = (time.perf_counter() - start) * 1e4
            torch.cuda.synchronize()
        else:
            source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
            target = torch.empty_like(source)
            target.copy_(source)
            answer = 2 * 2**30 / min(elapsed(lambda: target.copy_(source)) for _ in range(5)) * 1e6
        print(answer, flush=True)


main()
