"""From a core to kernel source, without tensors: program, adjoint, saved values, plan, printer, counts, LaTeX."""
