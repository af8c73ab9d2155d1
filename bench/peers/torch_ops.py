"""Times of PyTorch for what CudaOpsBench and CudaBlockwiseBench measure."""

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


def blockwise(m, n, k):
    a = torch.randn(m, k, device="cuda").clamp(-448, 448).to(torch.float8_e4m3fn)
    b = torch.randn(n, k, device="cuda").clamp(-448, 448).to(torch.float8_e4m3fn)
    scale_a = torch.rand(k // 128, m, device="cuda").t()
    scale_b = torch.rand(n // 128, k // 128, device="cuda").t()

    def call():
        torch._scaled_mm(a, b.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=torch.bfloat16)

    try:
        time(f"blockwise {m} x {n} x {k}", call)
    except (RuntimeError, ValueError) as error:
        print(f"| torch blockwise {m} x {n} x {k} | {str(error).splitlines()[0]} |", flush=True)


torch.manual_seed(5)
for layer in ((4608, 3584), (37888, 3584), (3584, 18944), (8192, 8192)):
    for tokens in (64, 256, 1024, 4096, 8192):
        blockwise(tokens, *layer)
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
