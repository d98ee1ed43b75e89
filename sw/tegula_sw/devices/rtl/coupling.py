"""Ways in which the compiled tile's memory makes channels of its AXI4 port wait for each other."""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["AddressCoupling", "Coupling", "OrderCoupling"]


class OrderCoupling(IntEnum):
    """Dependences between reads and writes.

    - READS_FIRST: no write beat is taken and no write is answered while a read is unanswered.
    - WRITES_FIRST: no read beat is given while a write is unanswered.
    - ONE_AT_A_TIME: from its address to its answer; reads and writes in turn.
    """

    FREE = 0
    READS_FIRST = 1
    WRITES_FIRST = 2
    ONE_AT_A_TIME = 3


class AddressCoupling(IntEnum):
    """Dependences between the address of a write and its data.

    - WITH_DATA: an address is accepted only when its first beat is valid, or was accepted.
    - AFTER_DATA: an address is accepted only after the last of its beats.
    - BEFORE_DATA: a beat is accepted only after the address of its burst.
    """

    FREE = 0
    WITH_DATA = 1
    AFTER_DATA = 2
    BEFORE_DATA = 3


@dataclass(frozen=True, kw_only=True)
class Coupling:
    """Behaviour of a memory beyond latency: docs/bus.md allows all of it, in any combination.

    Attributes
    ----------
    order, address
        Dependences between channels.
    interleave
        Beats of read bursts of different IDs come in random order.
    spells
        Each channel rests 95 % of the time, for up to 600 cycles at once.
    late
        Cycles by which each write response comes later.

    Raises
    ------
    ValueError
        If `late` is negative or above 2**20.
    """

    order: OrderCoupling = OrderCoupling.FREE
    address: AddressCoupling = AddressCoupling.FREE
    interleave: bool = False
    spells: bool = False
    late: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.late <= 1 << 20:
            raise ValueError(f"late must be 0 to {1 << 20} cycles, not {self.late}")

    def words(self) -> tuple[int, ...]:
        """The members of the C++ `struct Coupling`, in order."""
        return self.order, self.address, int(self.interleave), int(self.spells), self.late
