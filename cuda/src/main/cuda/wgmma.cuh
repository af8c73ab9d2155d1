// Warpgroup matrix multiply: d[64 x N] += a[64 x 32 bytes] * b[N x 32 bytes]^T, operands in shared
// memory, both with K running along the row. One overload for each legal size that the kernels use;
// the element type of the accumulators and a tag tell the formats apart.
#pragma once

#include "ptx.cuh"

struct S8 {
  using Acc = int;
};
struct E4m3 {
  using Acc = float;
};
struct Bf16 {
  using Acc = float;
};
struct Bf16Turned {  // both operands with K running down the columns
  using Acc = float;
};

DEVICE void wgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most `Pending` committed groups are unfinished.
template <int Pending>
DEVICE void wgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

/// Keeps the compiler from moving accesses to accumulators across this point.
template <int R>
DEVICE void pin(float (&d)[R]) {
#pragma unroll
  for (int i = 0; i < R; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int R>
DEVICE void pin(int (&d)[R]) {
#pragma unroll
  for (int i = 0; i < R; i++) asm volatile("" : "+r"(d[i])::"memory");
}

/// Describes a tile in shared memory: rows of 128 bytes, 128-byte swizzle, 1024 bytes from one group
/// of eight rows to the next (PTX ISA, "matrix descriptor").
///
///   63 62 | 61 .. 46 | 45 ... 32   | 31 30 | 29 ... 16    | 15 14 | 13 ....... 0
///   1: 128B swizzle  | stride >> 4 |       | leading >> 4 |       | address >> 4
DEVICE uint64_t tileDescriptor(uint32_t address) {
  constexpr uint64_t fixed = (1ull << 62) | (64ull << 32) | (1ull << 16);
  return fixed | ((address & 0x3FFFF) >> 4);
}

/// The same for operands whose rows run along M or N, 64 of 2 bytes: `Groups` bytes from one 64 columns to
/// the next, 1024 bytes from one eight rows of K to the next.
template <uint32_t Groups>
DEVICE uint64_t turnedDescriptor(uint32_t address) {
  constexpr uint64_t fixed = (1ull << 62) | (64ull << 32) | (static_cast<uint64_t>(Groups >> 4) << 16);
  return fixed | ((address & 0x3FFFF) >> 4);
}

// Operand lists: LIST_n names registers %0 ... %(n-1), BIND_n binds them to d[0] ... d[n-1].
#define LIST_4 "%0, %1, %2, %3"
#define BIND_4(R) R(d[0]), R(d[1]), R(d[2]), R(d[3])
#define LIST_8 LIST_4 \
  ", %4, %5, %6, %7"
#define BIND_8(R) BIND_4(R), \
  R(d[4]), R(d[5]), R(d[6]), R(d[7])
#define LIST_16 LIST_8 \
  ", %8, %9, %10, %11, %12, %13, %14, %15"
#define BIND_16(R) BIND_8(R), \
  R(d[8]), R(d[9]), R(d[10]), R(d[11]), R(d[12]), R(d[13]), R(d[14]), R(d[15])
#define LIST_32 LIST_16 \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define BIND_32(R) BIND_16(R), \
  R(d[16]), R(d[17]), R(d[18]), R(d[19]), R(d[20]), R(d[21]), R(d[22]), R(d[23]), R(d[24]), R(d[25]), R(d[26]), R(d[27]), \
  R(d[28]), R(d[29]), R(d[30]), R(d[31])
#define LIST_28 LIST_16 \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27"
#define BIND_28(R) BIND_16(R), \
  R(d[16]), R(d[17]), R(d[18]), R(d[19]), R(d[20]), R(d[21]), R(d[22]), R(d[23]), R(d[24]), R(d[25]), R(d[26]), R(d[27])
#define LIST_36 LIST_32 \
  ", %32, %33, %34, %35"
#define BIND_36(R) BIND_32(R), \
  R(d[32]), R(d[33]), R(d[34]), R(d[35])
#define LIST_48 LIST_36 \
  ", %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define BIND_48(R) BIND_36(R), \
  R(d[36]), R(d[37]), R(d[38]), R(d[39]), R(d[40]), R(d[41]), R(d[42]), R(d[43]), R(d[44]), R(d[45]), R(d[46]), R(d[47])
#define LIST_56 LIST_32 \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55"
#define BIND_56(R) BIND_32(R), \
  R(d[32]), R(d[33]), R(d[34]), R(d[35]), R(d[36]), R(d[37]), R(d[38]), R(d[39]), R(d[40]), R(d[41]), R(d[42]), R(d[43]), \
  R(d[44]), R(d[45]), R(d[46]), R(d[47]), R(d[48]), R(d[49]), R(d[50]), R(d[51]), R(d[52]), R(d[53]), R(d[54]), R(d[55])
#define LIST_64 LIST_56 \
  ", %56, %57, %58, %59, %60, %61, %62, %63"
#define BIND_64(R) BIND_56(R), \
  R(d[56]), R(d[57]), R(d[58]), R(d[59]), R(d[60]), R(d[61]), R(d[62]), R(d[63])
#define LIST_72 LIST_64 \
  ", %64, %65, %66, %67, %68, %69, %70, %71"
#define BIND_72(R) BIND_64(R), \
  R(d[64]), R(d[65]), R(d[66]), R(d[67]), R(d[68]), R(d[69]), R(d[70]), R(d[71])
#define LIST_96 LIST_72 \
  ", %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87" \
  ", %88, %89, %90, %91, %92, %93, %94, %95"
#define BIND_96(R) BIND_72(R), \
  R(d[72]), R(d[73]), R(d[74]), R(d[75]), R(d[76]), R(d[77]), R(d[78]), R(d[79]), R(d[80]), R(d[81]), R(d[82]), R(d[83]), \
  R(d[84]), R(d[85]), R(d[86]), R(d[87]), R(d[88]), R(d[89]), R(d[90]), R(d[91]), R(d[92]), R(d[93]), R(d[94]), R(d[95])
#define LIST_112 LIST_96 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define BIND_112(R) BIND_96(R), \
  R(d[96]), R(d[97]), R(d[98]), R(d[99]), R(d[100]), R(d[101]), R(d[102]), R(d[103]), R(d[104]), R(d[105]), R(d[106]), R(d[107]), \
  R(d[108]), R(d[109]), R(d[110]), R(d[111])
#define LIST_128 LIST_112 \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define BIND_128(R) BIND_112(R), \
  R(d[112]), R(d[113]), R(d[114]), R(d[115]), R(d[116]), R(d[117]), R(d[118]), R(d[119]), R(d[120]), R(d[121]), R(d[122]), R(d[123]), \
  R(d[124]), R(d[125]), R(d[126]), R(d[127])

#define INT_REGISTER(x) "+r"(x)
#define FLOAT_REGISTER(x) "+f"(x)

// N columns, R = N / 2 registers; A, B and P are the operand numbers R, R + 1 and R + 2.
#define WGMMA(TAG, ACC, SHAPE, TYPES, TAIL, R, A, B, P, REGISTER) \
  template <bool Add> \
  DEVICE void wgmma(TAG, ACC (&d)[R], uint64_t a, uint64_t b) { \
    asm volatile( \
        "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %" #P ", 0;\n\t" \
        "wgmma.mma_async.sync.aligned." SHAPE "." TYPES " {" LIST_##R "}, %" #A ", %" #B ", add" TAIL ";\n\t}" \
        : BIND_##R(REGISTER) \
        : "l"(a), "l"(b), "n"(Add ? 1 : 0)); \
  }
#define WGMMA_FORMATS(N, R, A, B, P) \
  WGMMA(S8, int, "m64n" #N "k32", "s32.s8.s8", "", R, A, B, P, INT_REGISTER) \
  WGMMA(E4m3, float, "m64n" #N "k32", "f32.e4m3.e4m3", ", 1, 1", R, A, B, P, FLOAT_REGISTER) \
  WGMMA(Bf16, float, "m64n" #N "k16", "f32.bf16.bf16", ", 1, 1, 0, 0", R, A, B, P, FLOAT_REGISTER)

WGMMA_FORMATS(8, 4, 4, 5, 6)
WGMMA_FORMATS(16, 8, 8, 9, 10)
WGMMA_FORMATS(32, 16, 16, 17, 18)
WGMMA_FORMATS(64, 32, 32, 33, 34)
WGMMA_FORMATS(112, 56, 56, 57, 58)
WGMMA_FORMATS(128, 64, 64, 65, 66)
WGMMA_FORMATS(144, 72, 72, 73, 74)
WGMMA_FORMATS(192, 96, 96, 97, 98)
WGMMA_FORMATS(224, 112, 112, 113, 114)
WGMMA_FORMATS(256, 128, 128, 129, 130)

// Halves of a tile's columns, for sums that are made precise.
#define WGMMA_HALF(N, R, A, B, P) \
  WGMMA(E4m3, float, "m64n" #N "k32", "f32.e4m3.e4m3", ", 1, 1", R, A, B, P, FLOAT_REGISTER)
WGMMA_HALF(56, 28, 28, 29, 30)
WGMMA_HALF(72, 36, 36, 37, 38)
WGMMA_HALF(96, 48, 48, 49, 50)

WGMMA(Bf16Turned, float, "m64n128k16", "f32.bf16.bf16", ", 1, 1, 1, 1", 64, 64, 65, 66, FLOAT_REGISTER)

#undef WGMMA_FORMATS
#undef WGMMA_HALF
#undef WGMMA
