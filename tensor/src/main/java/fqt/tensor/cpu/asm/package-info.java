/**
 * Machine code that Java assembles at run time, for what the Vector API cannot say or C2 compiles
 * unreliably. {@link fqt.tensor.cpu.asm.Assembler} knows just the x86-64 instructions that the
 * kernels use, each checked in the tests against the bytes of GNU as. {@link
 * fqt.tensor.cpu.asm.MachineFunction} makes functions of bytes, in pages that are written first and
 * executable afterwards, never both at once.
 *
 * {@snippet :
 * Assembler code = new Assembler();
 * code.load(Reg.RAX, Reg.RDI, 0);            // mov rax, [rdi]
 * code.storeInt(Reg.RAX, Reg.RSI, 0);        // mov [rsi], eax
 * code.ret();
 * MachineFunction copy = new MachineFunction(2, code.bytes());
 * copy.call(address(from), address(to));
 * }
 *
 * Kernels follow the calling convention of System V: arguments in rdi, rsi, rdx, rcx, r8, r9, then
 * on the stack; the vector registers free to use. They work on off-heap memory only.
 */
package fqt.tensor.cpu.asm;
