"""LLVM for the CPU: instruction builder, just-in-time compiler, threads."""
