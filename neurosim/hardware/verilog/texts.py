"""The fixed text of the Verilog files."""

from __future__ import annotations

_WORDS = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins
binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const
constraint context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge
else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule
endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually expect
export extends extern final first_match for force foreach forever fork forkjoin function generate genvar global
highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input
inside instance int integer interconnect interface intersect join join_any join_none large let liblist library
local localparam logic longint macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
signed small soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri
tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var
vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
"""
KEYWORDS = frozenset(_WORDS.split())
"""Of Verilog-2005, and of SystemVerilog, which verilator reads."""

CORE = """\
// A spiking network in integers, written by neurosim. Neurons are updated in turn over block RAM; a spike adds its row
// of weights to sums that the target reads in the same or a later step. Signed values, no division, no overflow.
module {name}_core (
    input wire clk,
    input wire rst,
    output wire ready,                            // a command is taken in a cycle in which this is high
    input wire load_valid,                        // the next weight of the image, from the first on
    input wire [{weight_top}:0] load_weight,
    input wire clear,                             // set the state before the first step
    input wire in_valid,                          // a spike that arrives in the next step
    input wire [{input_bits}-1:0] in_index,
    input wire signed [{input_top}:0] in_value,
    input wire step,                              // compute one time step
    output reg out_valid,                         // a spike that is sent in this step
    input wire out_ready,
    output reg [{output_bits}-1:0] out_index,
    output reg signed [{output_top}:0] out_value,
    output reg done                               // high for a cycle at the end of a step
);
    localparam IDLE = 0, CLEAR = 1, READ = 2, WAIT = 3, WRITE = 4, NEXT = 5, ROW = 6, WALK = 7, DRAIN = 8, END = 9;
    reg [3:0] state;
    reg [{population_bits}-1:0] population;
    reg [{neuron_bits}-1:0] neuron;
    reg [{sweep_bits}-1:0] sweep;
    reg [{wait_bits}-1:0] waited;
    reg [{weight_bits}-1:0] load_at;

    // The walk along a row: its projection, its source, and the weights that are left.
    reg [{row_bits}-1:0] row, row_end;
    reg [{neuron_bits}-1:0] source;
    reg signed [{value_top}:0] row_value;
    reg returns;                                  // to the updates, not to the next command
    reg [1:0] phase;
    reg [{weight_bits}-1:0] at, end_at, skipped;
    reg [{sweep_bits}-1:0] place, place_1;
    reg valid_1, valid_2, row_writes;
    reg [{sweep_bits}-1:0] row_read, row_place;
    reg signed [{row_weight_top}:0] weight_2, row_weight;
{place_declared}
    wire clearing = state == CLEAR;
    wire writing = state == WRITE && !stalled;
    wire in_row = state == WALK || state == DRAIN;
    wire step_ends = state == END;
    assign ready = state == IDLE;

    // What depends on the population.
    reg [{neuron_bits}-1:0] neurons;
    reg [{wait_bits}-1:0] depth;
    reg signed [{value_top}:0] value;
    reg [{row_bits}-1:0] first_row, last_row;
    wire stalled = value != 0 && population == {output_population} && out_valid && !out_ready;

    // What depends on the projection.
    reg [{target_bits}-1:0] row_target;
    reg [{sweep_bits}-1:0] now, size, start;
    reg signed [{row_weight_top}:0] factor;
    reg [{weight_bits}-1:0] base, length, offset, firsts_base;
    reg is_listed;

{memories}
    reg signed [{weight_top}:0] weights_q;

    always @* begin
        neurons = 0;
        case (population)
{sizes}
            default: neurons = 1;
        endcase
        depth = 1;
        case (population)
{depths}
            default: depth = 1;
        endcase
        value = 0;
        case (population)
{outputs}
            default: value = 0;
        endcase
        first_row = 0;
        last_row = 0;
        case (population)
{first_rows}
            default: begin first_row = 0; last_row = 0; end
        endcase
    end

    always @* begin
        row_target = 0; now = 0; size = 1; start = 0; factor = 1;
        base = 0; length = 0; offset = 0; firsts_base = 0; is_listed = 0;
        case (row)
{rows}
            default: row_target = 0;
        endcase
    end

    wire [{sweep_bits}:0] reached = now + ({places_text});
    wire load_now = ready && load_valid;
    wire [{weight_bits}-1:0] weight_at = load_now ? load_at : at;

    always @(posedge clk) begin
        if (load_now) weights[weight_at] <= load_weight;
        else weights_q <= weights[weight_at];
    end

    always @(posedge clk) begin
{place_reads}        place_1 <= place;
        valid_1 <= state == WALK && at != end_at;
        row_read <= reached >= size ? reached - size : reached;
        weight_2 <= weights_q * factor{times_value};
        valid_2 <= valid_1;
        row_place <= row_read;
        row_weight <= weight_2;
        row_writes <= valid_2;
{updates}
    end

    always @(posedge clk) begin
        done <= 1'b0;
        if (out_valid && out_ready) out_valid <= 1'b0;
        case (state)
            IDLE: begin
                returns <= 1'b0;
                phase <= 0;
                sweep <= 0;
                population <= 0;
                neuron <= 0;
                if (load_valid) load_at <= load_at + 1;
                else if (clear) state <= CLEAR;
                else if (in_valid) begin
{input_first_rows}
                    row_value <= {input_value};
                    state <= ROW;
                end else if (step) state <= READ;
            end
            CLEAR: begin
                sweep <= sweep + 1;
                if (sweep == {sweep_last}) state <= IDLE;
            end
            READ: begin
                waited <= 0;
                state <= WAIT;
            end
            WAIT: begin
                waited <= waited + 1;
                if (waited == depth) state <= WRITE;
            end
            WRITE: if (!stalled) begin
                state <= NEXT;
                if (value != 0) begin
                    if (population == {output_population}) begin
                        out_valid <= 1'b1;
                        out_index <= neuron;
                        out_value <= value;
                    end
                    row <= first_row;
                    row_end <= last_row;
                    source <= neuron;
                    row_value <= value;
                    returns <= 1'b1;
                    phase <= 0;
                    state <= ROW;
                end
            end
            NEXT: begin
                neuron <= neuron + 1;
                state <= READ;
                if (neuron + 1 == neurons) begin
                    neuron <= 0;
                    population <= population + 1;
                    if (population == {last_population}) state <= END;
                end
            end
            ROW: if (row == row_end) state <= returns ? NEXT : IDLE;
            else begin
                phase <= phase + 1;
                place <= start;
                skipped <= source * length;
                if (!is_listed && phase == 1) begin
                    at <= base + skipped;
                    end_at <= base + skipped + length;
                    state <= WALK;
                end
{listed_phases}            end
            WALK: begin
                at <= at + 1;
                place <= place + 1;
                if (at == end_at) begin
                    at <= at;
                    state <= DRAIN;
                end
            end
            DRAIN: if (!valid_1 && !valid_2 && !row_writes) begin
                row <= row + 1;
                phase <= 0;
                state <= ROW;
            end
            END: begin
                done <= 1'b1;
                state <= IDLE;
            end
            default: state <= IDLE;
        endcase
        if (rst) begin
            state <= CLEAR;
            sweep <= 0;
            load_at <= 0;
            out_valid <= 1'b0;
        end
    end

`ifdef NEUROSIM_TRACE  // every output and state of every step, for the comparison with the simulator
    integer trace;
    initial trace = $fopen("trace.txt", "w");
    always @(posedge clk) begin
{traces}
    end
`endif
endmodule
"""

LISTED_PHASES = """\
                if (is_listed) begin
                    if (phase == 0) first_at <= firsts_base + source;
                    if (phase == 1) first_at <= first_at + 1;
                    if (phase == 2) at <= base + firsts_q;
                    if (phase == 3) begin
                        end_at <= base + firsts_q;
                        state <= WALK;
                    end
                end
"""

PLACE_READS = """\
        places_q <= places[at - offset];
        firsts_q <= firsts[first_at];
"""

BOARD = """\
// The network behind two queues of bytes, for a serial port.
//   in:  0: clear; 1: step; 2, index (2 bytes, low first){value_in}: a spike;
//        3, weight ({weight_bytes} bytes): the next weight
//   out: 2, index (2 bytes){value_out}: a spike that is sent; 1: the end of a step
module {name} (
    input wire clk,
    input wire rst,
    input wire rx_valid,
    input wire [7:0] rx_data,
    output wire rx_ready,
    output wire tx_valid,
    output wire [7:0] tx_data,
    input wire tx_ready
);
    wire got_valid;
    wire [7:0] got;
    wire take;
    reg put_valid;
    reg [7:0] put;
    wire put_ready;
    {name}_queue in_queue (clk, rst, rx_valid, rx_data, rx_ready, got_valid, got, take);
    {name}_queue out_queue (clk, rst, put_valid, put, put_ready, tx_valid, tx_data, tx_ready);

    reg [7:0] command;
    reg [{argument_top}:0] argument;
    reg [2:0] left;                 // bytes of the argument that are missing
    reg full;                       // a command is complete
    wire ready, out_valid, done;
    reg ends;                       // the end of a step is to be sent
    wire [{output_bits}-1:0] out_index;
    wire signed [{output_top}:0] out_value;
    wire out_ready;
    {name}_core core (
        clk, rst, ready,
        full && command == 3, argument[{weight_at} +: {weight_width}],
        full && command == 0,
        full && command == 2, argument[{index_at} +: {input_bits}], {in_value},
        full && command == 1 && !ends,
        out_valid, out_ready, out_index, out_value, done);

    assign take = got_valid && (!full);
    always @(posedge clk) begin
        if (full && ready && !(command == 1 && ends)) full <= 1'b0;
        if (take) begin
            if (left == 0) begin
                command <= got;
                left <= got == 2 ? {event_bytes} : got == 3 ? {weight_bytes} : 0;
                full <= got != 2 && got != 3;
            end else begin
                argument <= {{got, argument[{argument_top}:8]}};
                left <= left - 1;
                full <= left == 1;
            end
        end
        if (rst) begin
            left <= 0;
            full <= 1'b0;
        end
    end

    // A spike that is sent, byte by byte; then the end of the step.
    reg [2:0] sent;
    wire [{answer_top}:0] answer = {{{answer_value}16'd0 | out_index, 8'd2}};
    wire last = sent == {answer_bytes} - 1;
    assign out_ready = out_valid && (!put_valid || put_ready) && last;
    always @(posedge clk) begin
        if (put_valid && put_ready) put_valid <= 1'b0;
        if (done) ends <= 1'b1;
        if (!put_valid || put_ready) begin
            if (out_valid) begin
                put_valid <= 1'b1;
                put <= answer[8 * sent +: 8];
                sent <= last ? 0 : sent + 1;
            end else if (ends) begin
                put_valid <= 1'b1;
                put <= 8'd1;
                ends <= done;
            end
        end
        if (rst) begin
            put_valid <= 1'b0;
            sent <= 0;
            ends <= 1'b0;
        end
    end
endmodule

// A queue of 512 bytes in one block of memory.
module {name}_queue (
    input wire clk,
    input wire rst,
    input wire put_valid,
    input wire [7:0] put,
    output wire put_ready,
    output reg get_valid,
    output reg [7:0] get,
    input wire get_ready
);
    reg [7:0] bytes [0:511];
    reg [9:0] head, tail;
    wire [9:0] held = head - tail;
    assign put_ready = !held[9];
    wire fetch = held != 0 && (!get_valid || get_ready);
    always @(posedge clk) begin
        if (put_valid && put_ready) bytes[head[8:0]] <= put;
        if (fetch) get <= bytes[tail[8:0]];
    end
    always @(posedge clk) begin
        if (put_valid && put_ready) head <= head + 1;
        if (fetch) begin
            tail <= tail + 1;
            get_valid <= 1'b1;
        end else if (get_ready) get_valid <= 1'b0;
        if (rst) begin
            head <= 0;
            tail <= 0;
            get_valid <= 1'b0;
        end
    end
endmodule
"""

BENCH = """\
// Sends the bytes of {name}_commands.mem, compares each byte that comes back with {name}_expected.mem, and says
// how many differ. Simulate it with {name}.v in the folder of the memory images.
`timescale 1ns / 1ns
module {name}_bench;
    localparam COMMANDS = {commands}, EXPECTED = {expected}, LOADS = {loads}, STEPS = {steps};
    reg clk, rst;
    reg [7:0] commands [0:COMMANDS - 1];
    reg [7:0] expected [0:EXPECTED - 1];
    integer at, got, differing, idle, cycles;
    wire rx_ready, tx_valid;
    wire [7:0] tx_data;
    wire [7:0] rx_data = commands[at];
    wire rx_valid = at < COMMANDS && !rst;
    {name} network (clk, rst, rx_valid, rx_data, rx_ready, tx_valid, tx_data, 1'b1);

    initial begin
        $readmemh("{name}_commands.mem", commands);
        $readmemh("{name}_expected.mem", expected);
        clk = 0; rst = 1; at = 0; got = 0; differing = 0; idle = 0; cycles = 0;
        repeat (4) begin
            #1 clk = 1;
            #1 clk = 0;
        end
        rst = 0;
        while (got < EXPECTED && idle < {limit}) begin
            #1 clk = 1;
            #1 clk = 0;
        end
        if (got < EXPECTED) $display("FAILED: %0d of %0d bytes came back", got, EXPECTED);
        else if (differing > 0) $display("FAILED: %0d of %0d bytes differ", differing, EXPECTED);
        else $display("PASSED: %0d bytes, 0 differ; %0d cycles for %0d steps", EXPECTED, cycles, STEPS);
        $finish;
    end

    always @(posedge clk) if (!rst) begin
        idle <= tx_valid ? 0 : idle + 1;
        if (at > LOADS) cycles <= cycles + 1;
        if (rx_valid && rx_ready) at <= at + 1;
        if (tx_valid) begin
            if (got < EXPECTED && tx_data !== expected[got]) begin
                differing <= differing + 1;
                if (differing == 0) $display("byte %0d: %0d came, %0d was expected", got, tx_data, expected[got]);
            end
            got <= got + 1;
        end
    end
endmodule
"""
