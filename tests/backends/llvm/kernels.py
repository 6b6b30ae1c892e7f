"""Hand-written kernels that the tests of the native runtime run."""

from graphc.backends.llvm.emit.report import report_ir

SIGNATURE = "(ptr %buffers, ptr %slots, i64 %low, i64 %high, i64 %task, ptr %context)"


def slot(number: int) -> str:
    """Instructions that put the address of a slot into %p<number>."""
    return f"""
  %i{number} = getelementptr i32, ptr %slots, i64 {number}
  %n{number} = load i32, ptr %i{number}
  %a{number} = getelementptr ptr, ptr %buffers, i32 %n{number}
  %p{number} = load ptr, ptr %a{number}"""


def loop(name: str, slots: int, body: str, extra: str = "") -> str:
    """A kernel function that does `body` for each unit %i, with the slots at %p0, %p1, …"""
    return f"""{extra}
define void @{name}{SIGNATURE} {{
entry:{"".join(slot(k) for k in range(slots))}
  br label %head
head:
  %i = phi i64 [ %low, %entry ], [ %i.next, %tail ]
  %more = icmp slt i64 %i, %high
  br i1 %more, label %body, label %done
body:{body}
  br label %tail
tail:
  %i.next = add i64 %i, 1
  br label %head
done:
  ret void
}}
"""


# out[i] = a[i] + b[i], float32
ADD = loop(
    "add",
    3,
    """
  %x.at = getelementptr float, ptr %p0, i64 %i
  %x = load float, ptr %x.at
  %y.at = getelementptr float, ptr %p1, i64 %i
  %y = load float, ptr %y.at
  %z = fadd float %x, %y
  %z.at = getelementptr float, ptr %p2, i64 %i
  store float %z, ptr %z.at""",
)

# out[i] = a[n - 1 - i] with n in a buffer of one int64: reads what other threads wrote
REVERSE = loop(
    "reverse",
    3,
    """
  %n = load i64, ptr %p1
  %last = sub i64 %n, 1
  %j = sub i64 %last, %i
  %x.at = getelementptr float, ptr %p0, i64 %j
  %x = load float, ptr %x.at
  %z.at = getelementptr float, ptr %p2, i64 %i
  store float %x, ptr %z.at""",
)

# out[i] = table[index[i]] with a table of 8 float32; a bad index is reported and read as 0
GATHER = loop(
    "gather",
    3,
    """
  %x.at = getelementptr i64, ptr %p1, i64 %i
  %x = load i64, ptr %x.at
  %ok = icmp ult i64 %x, 8
  br i1 %ok, label %read, label %bad
bad:
  call void @report(ptr %context, i64 %task, i64 %x)
  br label %read
read:
  %j = phi i64 [ %x, %body ], [ 0, %bad ]
  %v.at = getelementptr float, ptr %p0, i64 %j
  %v = load float, ptr %v.at
  %z.at = getelementptr float, ptr %p2, i64 %i
  store float %v, ptr %z.at""",
    report_ir(),
)

# count[i] += 1, and the address of a stack slot of the thread that did it is kept in who[i]
MARK = loop(
    "mark",
    2,
    """
  %c.at = getelementptr i64, ptr %p0, i64 %i
  %c = load i64, ptr %c.at
  %c1 = add i64 %c, 1
  store i64 %c1, ptr %c.at
  %self = call i64 @pthread_self()
  %w.at = getelementptr i64, ptr %p1, i64 %i
  store i64 %self, ptr %w.at""",
    "declare i64 @pthread_self()",
)

# out[i] = sin(a[i]), float64, by libm
SINE = loop(
    "sine",
    2,
    """
  %x.at = getelementptr double, ptr %p0, i64 %i
  %x = load double, ptr %x.at
  %y = call double @sin(double %x)
  %z.at = getelementptr double, ptr %p1, i64 %i
  store double %y, ptr %z.at""",
    "declare double @sin(double)",
)
