/**
 * The CPU backend. {@link fqt.tensor.cpu.CpuBackend} hands every operation to a kernel class;
 * {@link fqt.tensor.cpu.ScalarBackend} is its twin in plain loops, which says what each operation
 * means and which the tests hold the kernels against. Both allocate from {@link
 * fqt.tensor.cpu.HostMemory}, and kernels share work out over {@link fqt.tensor.cpu.Threads}.
 */
package fqt.tensor.cpu;
