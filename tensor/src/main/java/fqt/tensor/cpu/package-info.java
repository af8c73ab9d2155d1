/**
 * The CPU backend. {@link fqt.tensor.cpu.CpuBackend} hands every operation to a kernel class;
 * {@link fqt.tensor.cpu.ScalarBackend} is its twin in plain loops, which says what each operation
 * means and which the tests hold the kernels against. Both allocate from {@link
 * fqt.tensor.cpu.HostMemory}, and kernels share work out over {@link fqt.tensor.cpu.Threads}.
 *
 * <p>Matrix products go one of three ways, by machine code where {@link
 * fqt.tensor.cpu.KernelChoice} found it to run and by the Vector API elsewhere. Many rows: {@link
 * fqt.tensor.cpu.Gemm} packs blocks of both sides and multiplies tiles. Up to 16 rows: {@link
 * fqt.tensor.cpu.Streaming} reads the weight once, in the order of memory, and {@link
 * fqt.tensor.cpu.PackedProducts} does so for codes of 4 and 8 bits without unpacking them. What
 * differs between f32, bf16 and int8 is what a term of four bytes holds: {@link
 * fqt.tensor.cpu.Bf16Terms}, {@link fqt.tensor.cpu.ByteTerms}; sums of integers become results
 * ({@link fqt.tensor.cpu.Scaling}) tile by tile, while they are in the first-level cache.
 *
 * <p>A weight that nobody will write to any more ({@link fqt.tensor.Ops#freeze}) is packed once, by
 * the second product of many rows that it takes part in, and kept with the weight's storage: {@link
 * fqt.tensor.cpu.KeptForms}. Models that are only run freeze their weights; jobs that quantize go
 * through each layer once and do not.
 */
package fqt.tensor.cpu;
