/**
 * Quantized matrix multiply on NVIDIA GPUs, with nothing installed but the driver.
 *
 * <p>{@link fqt.cuda.CudaDevices} says what is there. {@link fqt.cuda.CudaContext} is one GPU: it
 * gives out memory that tensors can be views of, loads kernels when they are first used and
 * launches them on a {@link fqt.cuda.CudaStream}. {@link fqt.cuda.CudaMatmul} and {@link
 * fqt.cuda.CudaQuantize} are the operations. {@link fqt.cuda.CudaGraph} records a sequence of them
 * and replays it with one call.
 *
 * <p>The kernels are CUDA C++ in {@code src/main/cuda}; what ships is the PTX compiled from it,
 * which the driver turns into machine code on first use and keeps in its cache. The driver is
 * called through JCuda, and through the foreign-function interface for what JCuda lacks: encoding
 * tensor maps, launching with attributes (thread-block clusters), setting up the memory pool.
 *
 * <p>A {@code CudaBackend} makes a GPU a device of {@link fqt.tensor.Ops}; it delegates each group
 * of operations to a class that launches their kernels.
 *
 * <p>Everything here may be called from any thread: a context serializes launches, and makes itself
 * current on the calling thread each time. Work on one stream runs in order; a host call returns
 * before it is done unless it says otherwise.
 */
package fqt.cuda;
