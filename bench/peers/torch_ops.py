"""Times of PyTorch for what CudaOpsBench measures: Hessians, Cholesky factors, triangular inverses."""

import statistics

import torch


def time(name, call, rounds=5):
    call()
    torch.cuda.synchronize()
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    print(f"| torch {name} | {statistics.median(times):.1f} |", flush=True)


torch.manual_seed(5)
big = torch.randn(1 << 30, dtype=torch.bfloat16, device="cuda")
copy = torch.empty_like(big)
time("copy of 2 GiB", lambda: copy.copy_(big))
del big, copy
for size in (3584, 18944):
    x = torch.randn(2048, size, device="cuda")
    half = x.bfloat16()
    time(f"x.T @ x bf16 2048 x {size}", lambda: half.T @ half)
    time(f"x.T @ x f32 2048 x {size}", lambda: x.T @ x)
    torch.backends.cuda.matmul.allow_tf32 = True
    time(f"x.T @ x tf32 2048 x {size}", lambda: x.T @ x)
    torch.backends.cuda.matmul.allow_tf32 = False
    h = x.T @ x / 4096 + torch.eye(size, device="cuda")
    factor = torch.linalg.cholesky(h)
    eye = torch.eye(size, device="cuda")
    time(f"linalg.cholesky {size}", lambda: torch.linalg.cholesky(h), 3)
    time(f"inverse of the factor {size}", lambda: torch.linalg.solve_triangular(factor, eye, upper=False), 3)
