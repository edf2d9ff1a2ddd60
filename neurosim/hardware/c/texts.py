"""The fixed text of the C files."""

from __future__ import annotations

KEYWORDS = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "main",
    ]
)

HEADER = """\
/* A spiking network in integers, written by neurosim. No heap, no floating point, no library.
 * Constants take {constants} bytes of flash and variables {variables} bytes of RAM; code and stack add to them. */
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

#define {upper}_INPUTS {inputs}u
#define {upper}_OUTPUTS {outputs}u
{places}
typedef {input_type} {name}_input;   /* {low} to {high}; 0 is no spike */
typedef {output_type} {name}_output; /* {unit} */

#ifdef __cplusplus
extern "C" {{
#endif

/* Set the state before the first step. Call it once before {name}_step, and before each new sample. */
void {name}_reset(void);

/* Compute one time step: in[{upper}_INPUTS] arrives, out[{upper}_OUTPUTS] is sent. */
void {name}_step(const {name}_input *in, {name}_output *out);

#ifdef __cplusplus
}}
#endif

#endif
"""

SOURCE = """\
/* See {name}.h. Each spike adds its row of weights to sums that the target reads in the same or a later step. */
#include "{name}.h"

#ifdef {trace} /* the tests define it: every output and state of every step */
void {name}_trace(int64_t value);
#define TRACE(value) {name}_trace((int64_t)(value))
#else
#define TRACE(value) ((void)(value))
#endif

{arrays}

{functions}
"""

MAIN = """\
/* Runs the samples of {name}_vectors.h: 0 if every output of every step is the one given there. */
#include "{name}_vectors.h"

int main(void)
{{
    return {name}_differing() == 0u ? 0 : 1;
}}
"""

VECTORS = """\
/* {samples} samples of {steps} steps: what arrives, and what {name}_step must send. */
#ifndef {upper}_VECTORS_H
#define {upper}_VECTORS_H

#include "{name}.h"

#define {upper}_SAMPLES {samples}u
#define {upper}_STEPS {steps}u

/* The inputs that are not 0: how many in each step, then their places{values_too}. */
{arrays}

/* Return the number of outputs that differ, of all steps of all samples. */
static uint32_t {name}_differing(void)
{{
    static {name}_input in[{upper}_INPUTS];
    static {name}_output out[{upper}_OUTPUTS];
    const {place_type} *place = {name}_place;
    const {sent_type} *sent = {name}_sent;
    uint32_t differing = 0, at = 0;{first_value}
    for (uint32_t sample = 0; sample < {upper}_SAMPLES; ++sample) {{
        {name}_reset();
        for (uint32_t step = 0; step < {upper}_STEPS; ++step, ++at) {{
            for (uint32_t k = 0; k < {name}_count[at]; ++k) {{ in[place[k]] = {value}; }}
            {name}_step(in, out);
            for (uint32_t k = 0; k < {name}_count[at]; ++k) {{ in[place[k]] = 0; }}
            for (uint32_t k = 0; k < {upper}_OUTPUTS; ++k) {{ differing += out[k] != ({name}_output)sent[k]; }}
            place += {name}_count[at];{next_value}
            sent += {upper}_OUTPUTS;
        }}
    }}
    return differing;
}}

#endif
"""

# Reads the inputs of all samples and writes all values of the trace, in the byte order of the machine.
HARNESS = """\
#include <stdio.h>
#include "{name}.h"

static FILE *written;

void {name}_trace(int64_t value)
{{
    (void)fwrite(&value, sizeof value, 1, written);
}}

int main(void)
{{
    static {name}_input in[{upper}_INPUTS];
    static {name}_output out[{upper}_OUTPUTS];
    FILE *read = fopen("input.bin", "rb");
    written = fopen("trace.bin", "wb");
    if (!read || !written) {{ return 2; }}
    for (long sample = 0; sample < {samples}; ++sample) {{
        {name}_reset();
        for (long step = 0; step < {steps}; ++step) {{
            if (fread(in, sizeof in, 1, read) != 1) {{ return 3; }}
            {name}_step(in, out);
        }}
    }}
    return fclose(written) ? 4 : 0;
}}
"""

# Prints the nanoseconds of a step: the inputs of all samples, repeated for at least a second.
CLOCK = """\
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "{name}.h"

int main(void)
{{
    static {name}_output out[{upper}_OUTPUTS];
    const size_t values = (size_t){samples} * {steps} * {upper}_INPUTS;
    {name}_input *in = malloc(values * sizeof *in);
    FILE *read = fopen("input.bin", "rb");
    long runs = 0;
    clock_t start, used;
    if (!in || !read || fread(in, sizeof *in, values, read) != values) {{ return 2; }}
    start = clock();
    do {{
        for (long sample = 0; sample < {samples}; ++sample) {{
            {name}_reset();
            for (long step = 0; step < {steps}; ++step) {{
                {name}_step(in + (size_t)(sample * {steps} + step) * {upper}_INPUTS, out);
            }}
        }}
        ++runs;
        used = clock() - start;
    }} while (used < CLOCKS_PER_SEC);
    printf("%.1f\\n", 1e9 * (double)used / CLOCKS_PER_SEC / ((double)runs * {samples} * {steps}));
    return 0;
}}
"""

# A Cortex-M4 starts from a table of its first stack address and its first instruction.
VECTOR_TABLE = """\
#include <stdint.h>

extern uint32_t __stack;
extern void _start(void);

typedef void (*entry)(void);
__attribute__((section(".vectors"), used)) static const struct {{
    uint32_t *stack;
    entry first;
}} vectors = {{ &__stack, _start }};
"""

# Memory of the machine mps2-an386: 4 MB of code at 0, 4 MB of data at 0x20000000.
LINKER_SCRIPT = """\
MEMORY {{ CODE (rx) : ORIGIN = 0x0, LENGTH = 4M
          DATA (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }}
ENTRY(_start)
SECTIONS
{{
    .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) KEEP(*(.init)) KEEP(*(.fini)) }} > CODE
    .ARM.exidx : {{ *(.ARM.exidx*) }} > CODE
    .init_array : {{ __preinit_array_start = .; KEEP(*(.preinit_array*)) __preinit_array_end = .;
                     __init_array_start = .; KEEP(*(.init_array*)) __init_array_end = .;
                     __fini_array_start = .; KEEP(*(.fini_array*)) __fini_array_end = .; }} > CODE
    .data : {{ *(.data*) }} > DATA
    .bss : {{ __bss_start__ = .; *(.bss*) *(COMMON) __bss_end__ = .; end = .; __end__ = .; }} > DATA
    __stack = ORIGIN(DATA) + LENGTH(DATA);
}}
"""
