"""Programs without loops that mean what programs with loops do, instruction by instruction.

Written anew from docs/isa.md, on values of fields: neither bits of words nor the golden model.
"""

from collections.abc import Callable, Iterator

from tegula.isa.codec import Decoded, decodable_instructions, encode

__all__ = ["unrolled"]

_FIELDS = {
    "tensor.load": ("addr",),
    "tensor.matmul": ("addr", "psum_addr"),
    "vector.compute": ("x_addr", "y_addr", "s0", "s1", "dst"),
    "vector.generator": ("addr",),
    "activation.apply": ("x_addr", "sum_dst", "scale", "bias", "dst"),
    "activation.table": ("addr",),
    "load.dma": ("mem_addr", "sbuf_addr"),
    "store.dma": ("mem_addr", "sbuf_addr"),
    "tensor.scales": ("addr",),
    "vector.quantise": ("x_addr", "scale_dst", "s0", "s1", "dst"),
    "control.read": ("mem_addr",),
}
"""Fields of the slots of `control.relative`, in their order."""

_PATTERNS = ("s0", "s1", "scale", "bias")


class _Unrolling:
    """Registers, and the instructions by their index."""

    def __init__(self, program: bytes, read: Callable[[int, int], int]):
        self._rows = [decoded for _, decoded in decodable_instructions(program)]
        self._registers = dict.fromkeys(range(16), 0)
        self._read = read
        self._slots: dict[int, int] = {}

    def body(self, at: int, out: list[Decoded]) -> int:
        """Execute from instruction `at` to the end of its body; the index behind that end."""
        while True:
            row = self._with_sums(self._rows[at])
            fields = row.fields
            at += 1
            if row.mnemonic == "halt":
                out.append(row)
                return -1
            if row.mnemonic == "control.end":
                return at
            if row.mnemonic == "control.loop":
                count = fields["count"]
                if fields["from_register"]:
                    count = self._registers[fields["register"]]
                for _ in range(count):
                    behind = self.body(at, out)
                    if behind < 0:
                        return behind
                at = behind
            elif row.mnemonic == "control.add":
                source = 0 if fields["zero"] else self._registers[fields["source"]]
                self._registers[fields["register"]] = (source + fields["value"]) % 2**48
            elif row.mnemonic == "control.read":
                out.append(row)
                number = self._read(fields["mem_addr"], 8 if fields["bytes8"] else 4)
                self._registers[fields["register"]] = number % 2**48
            elif row.mnemonic == "control.relative":
                self._slots = {
                    slot: fields[f"register{slot}"] for slot in range(6) if fields[f"enable{slot}"]
                }
            else:
                out.append(row)

    def _with_sums(self, row: Decoded) -> Decoded:
        fields = dict(row.fields)
        for slot, register in self._slots.items():
            name, value = _FIELDS[row.mnemonic][slot], self._registers[register]
            if name in _PATTERNS:
                fields[name] = (fields[name] + value) % 2**32
            else:
                fields[name] += value - 2**48 if value >= 2**47 else value
        self._slots = {}
        return Decoded(mnemonic=row.mnemonic, fields=fields, size=row.size)


def _waiting(rows: list[Decoded]) -> Iterator[bytes]:
    """Words of the instructions; in the place of a `control.read` that waits, nothing."""
    for row in rows:
        if row.mnemonic != "control.read":
            yield encode(row.mnemonic, **row.fields)


def unrolled(program: bytes, read: Callable[[int, int], int]) -> bytes:
    """The program without instructions of control but `halt`.

    Parameters
    ----------
    program
        One that does not trap before its `halt`, and in which what is read is not written.
    read
        ``read(address, size_bytes)``, the number in memory.
    """
    rows: list[Decoded] = []
    _Unrolling(program, read).body(0, rows)
    return b"".join(_waiting(rows))
