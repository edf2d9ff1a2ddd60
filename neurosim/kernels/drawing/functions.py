"""Functions of the compiled drawing, as text of LLVM IR: words of a row, partners of a row.

- ``words(out, block, count, row, purpose, key)`` sets ``count`` words of a row from counter ``block`` on, and up to 31
  more.
- ``picks(out, count, row, key, choices, self)`` sets partners with multapses, and up to 31 more.
- ``different(out, count, row, key, choices, self, bits, buffer)`` sets different partners, and up to one more. ``bits``
  has a bit for each choice, all 0 before and after; ``buffer`` holds 64 words.

``key`` is three i64: the stream and the two halves of the seed. ``self`` is the neuron to leave out, or a large number.
"""

from __future__ import annotations

from collections.abc import Sequence

from neurosim.kernels.common.philox import INCREMENTS, MULTIPLIERS, ROUNDS
from neurosim.kernels.drawing.arguments import PICKS

LANES = 8  # counters at once
GROUP = 4 * LANES  # words at once
_MASK = 0xFFFFFFFF


def _splat(value: int) -> str:
    return f"splat (i64 {value})"


def _rounds() -> tuple[list[str], Sequence[str]]:
    """Return the lines of the rounds on vectors %a0 ... %d0, and the names of the results."""
    kind, lines = f"<{LANES} x i64>", []
    a, b, c, d = "%a0", "%b", "%c", "%d"
    for n in range(ROUNDS):
        keys = [f"%key{n}.0", f"%key{n}.1"]
        lines += [
            f"%l{n} = mul {kind} {a}, {_splat(MULTIPLIERS[0])}",
            f"%r{n} = mul {kind} {c}, {_splat(MULTIPLIERS[1])}",
            f"%rh{n} = lshr {kind} %r{n}, {_splat(32)}",
            f"%lh{n} = lshr {kind} %l{n}, {_splat(32)}",
            f"%ab{n} = xor {kind} %rh{n}, {b}",
            f"%cd{n} = xor {kind} %lh{n}, {d}",
            f"%na{n} = xor {kind} %ab{n}, {keys[0]}",
            f"%nc{n} = xor {kind} %cd{n}, {keys[1]}",
            f"%nb{n} = and {kind} %r{n}, {_splat(_MASK)}",
            f"%nd{n} = and {kind} %l{n}, {_splat(_MASK)}",
        ]
        a, b, c, d = f"%na{n}", f"%nb{n}", f"%nc{n}", f"%nd{n}"
    return lines, (a, b, c, d)


def _spread(name: str, scalar: str) -> list[str]:
    """Return the lines that set `name` to a number in all lanes."""
    kind = f"<{LANES} x i64>"
    return [
        f"{name}.one = insertelement {kind} poison, i64 {scalar}, i64 0",
        f"{name} = shufflevector {kind} {name}.one, {kind} poison, <{LANES} x i32> zeroinitializer",
    ]


def words() -> str:
    """Return the function ``words``."""
    kind, narrow = f"<{LANES} x i64>", f"<{LANES} x i32>"
    before = []
    for n in range(ROUNDS):
        for half in range(2):
            raised = f"%key{n}.{half}"
            before += [
                f"{raised}.sum = add i64 %k{half}, {n * INCREMENTS[half]}",
                f"{raised}.word = and i64 {raised}.sum, {_MASK}",
                *_spread(raised, f"{raised}.word"),
            ]
    for name, value in (("%b", "%row"), ("%c", "%purpose"), ("%d", "%stream")):
        before += _spread(name, value)
    rounds, results = _rounds()
    lanes = ", ".join(f"i64 {n}" for n in range(LANES))
    pairs = ", ".join(f"i32 {n}" for n in range(2 * LANES))
    order = ", ".join(f"i32 {part * LANES + lane}" for lane in range(LANES) for part in range(4))
    inside = [
        "%quarter = lshr i64 %n, 2",
        "%number = add i64 %block, %quarter",
        *_spread("%first", "%number"),
        f"%a0 = add {kind} %first, <{lanes}>",
        *rounds,
        *(f"%w{n} = trunc {kind} {value} to {narrow}" for n, value in enumerate(results)),
        *(
            f"%w{n}{n + 1} = shufflevector {narrow} %w{n}, {narrow} %w{n + 1}, <{2 * LANES} x i32> <{pairs}>"
            for n in (0, 2)
        ),
        f"%all = shufflevector <{2 * LANES} x i32> %w01, <{2 * LANES} x i32> %w23, <{GROUP} x i32> <{order}>",
        "%place = getelementptr i32, ptr %out, i64 %n",
        f"store <{GROUP} x i32> %all, ptr %place, align 4",
        f"%next = add i64 %n, {GROUP}",
    ]
    return f"""
define internal void @words(ptr noalias %out, i64 %block, i64 %count, i64 %row, i64 %purpose, ptr noalias %key) {{
entry:
  %stream = load i64, ptr %key
  %k0.at = getelementptr i64, ptr %key, i64 1
  %k0 = load i64, ptr %k0.at
  %k1.at = getelementptr i64, ptr %key, i64 2
  %k1 = load i64, ptr %k1.at
  {chr(10).join(before)}
  br label %head
head:
  %n = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %n, %count
  br i1 %more, label %body, label %exit
body:
  {chr(10).join(inside)}
  br label %head
exit:
  ret void
}}
"""


def _share(name: str, word: str) -> str:
    """Return the lines that set `name` to ``word * choices >> 32``."""
    return f"""{name}.wide = zext i32 {word} to i64
  {name}.product = mul i64 {name}.wide, %choices
  {name} = lshr i64 {name}.product, 32"""


def _beyond_self(name: str, value: str) -> str:
    """Return the lines that set `name` to `value`, or to one more from the neuron itself on."""
    return f"""{name}.is.beyond = icmp sge i64 {value}, %self
  {name}.step = zext i1 {name}.is.beyond to i64
  {name} = add i64 {value}, {name}.step"""


def picks() -> str:
    """Return the function ``picks``."""
    return f"""
define internal void @picks(ptr noalias %out, i64 %count, i64 %row, ptr noalias %key, i64 %choices, i64 %self) {{
entry:
  call void @words(ptr %out, i64 0, i64 %count, i64 %row, i64 {PICKS}, ptr %key)
  br label %head
head:
  %n = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %n, %count
  br i1 %more, label %body, label %exit
body:
  %place = getelementptr i32, ptr %out, i64 %n
  %word = load i32, ptr %place
  {_share("%pick", "%word")}
  {_beyond_self("%other", "%pick")}
  %narrow = trunc i64 %other to i32
  store i32 %narrow, ptr %place
  %next = add i64 %n, 1
  br label %head
exit:
  ret void
}}
"""


def different() -> str:
    """Return the function ``different``."""
    return f"""
define internal void @different(ptr noalias %out, i64 %count, i64 %row, ptr noalias %key, i64 %choices, i64 %self,
                                ptr noalias %bits, ptr noalias %buffer) {{
entry:
  %twice = shl i64 %count, 1
  %inverts = icmp sgt i64 %twice, %choices
  %rest = sub i64 %choices, %count
  %wanted = select i1 %inverts, i64 %rest, i64 %count
  br label %more.words
more.words:
  %block = phi i64 [ 0, %entry ], [ %block.next, %drawn ]
  %held = phi i64 [ 0, %entry ], [ %found.next, %drawn ]
  %lacks = icmp slt i64 %held, %wanted
  br i1 %lacks, label %draw, label %ready
draw:
  call void @words(ptr %buffer, i64 %block, i64 64, i64 %row, i64 {PICKS}, ptr %key)
  br label %try
try:
  %m = phi i64 [ 0, %draw ], [ %m.next, %try ]
  %found = phi i64 [ %held, %draw ], [ %found.next, %try ]
  %word.at = getelementptr i32, ptr %buffer, i64 %m
  %word = load i32, ptr %word.at
  {_share("%pick", "%word")}
  %cell = lshr i64 %pick, 6
  %bit = and i64 %pick, 63
  %cell.at = getelementptr i64, ptr %bits, i64 %cell
  %before = load i64, ptr %cell.at
  %shown = lshr i64 %before, %bit
  %was = and i64 %shown, 1
  %is.new = xor i64 %was, 1
  %has.room = icmp slt i64 %found, %wanted
  %room = zext i1 %has.room to i64
  %takes = and i64 %is.new, %room
  %mark = shl i64 %takes, %bit
  %after = or i64 %before, %mark
  store i64 %after, ptr %cell.at
  %out.at = getelementptr i32, ptr %out, i64 %found
  %narrow = trunc i64 %pick to i32
  store i32 %narrow, ptr %out.at
  %found.next = add i64 %found, %takes
  %m.next = add i64 %m, 1
  %again = icmp slt i64 %m.next, 64
  br i1 %again, label %try, label %drawn
drawn:
  %block.next = add i64 %block, 16
  br label %more.words
ready:
  br i1 %inverts, label %list, label %clear
clear:
  %c = phi i64 [ 0, %ready ], [ %c.next, %clear.body ]
  %c.more = icmp slt i64 %c, %count
  br i1 %c.more, label %clear.body, label %exit
clear.body:
  %c.at = getelementptr i32, ptr %out, i64 %c
  %c.value = load i32, ptr %c.at
  %c.wide = zext i32 %c.value to i64
  %c.cell = lshr i64 %c.wide, 6
  %c.cell.at = getelementptr i64, ptr %bits, i64 %c.cell
  store i64 0, ptr %c.cell.at
  {_beyond_self("%c.other", "%c.wide")}
  %c.narrow = trunc i64 %c.other to i32
  store i32 %c.narrow, ptr %c.at
  %c.next = add i64 %c, 1
  br label %clear
list:
  %v = phi i64 [ 0, %ready ], [ %v.next, %list.body ]
  %k = phi i64 [ 0, %ready ], [ %k.next, %list.body ]
  %v.more = icmp slt i64 %v, %choices
  br i1 %v.more, label %list.body, label %wipe
list.body:
  %v.cell = lshr i64 %v, 6
  %v.bit = and i64 %v, 63
  %v.at = getelementptr i64, ptr %bits, i64 %v.cell
  %v.word = load i64, ptr %v.at
  %v.shown = lshr i64 %v.word, %v.bit
  %v.was = and i64 %v.shown, 1
  %v.free = xor i64 %v.was, 1
  {_beyond_self("%v.other", "%v")}
  %v.narrow = trunc i64 %v.other to i32
  %v.out = getelementptr i32, ptr %out, i64 %k
  store i32 %v.narrow, ptr %v.out
  %k.next = add i64 %k, %v.free
  %v.next = add i64 %v, 1
  br label %list
wipe:
  %cells.all = add i64 %choices, 63
  %cells = lshr i64 %cells.all, 6
  %length = shl i64 %cells, 3
  call void @llvm.memset.p0.i64(ptr %bits, i8 0, i64 %length, i1 false)
  br label %exit
exit:
  ret void
}}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""
