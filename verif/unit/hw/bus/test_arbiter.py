"""The AXI master port: whose request goes first, whose answer it is, and what never changes."""

from collections import deque
from random import Random

import pytest

from tegula.bus.arbiter import AxiMaster
from tegula.bus.axi import READ_ID_FETCH, READ_ID_LOAD, READ_ID_STORE
from tegula.config import preset
from verif.support.unit_bench import simulate

CLIENTS = {READ_ID_LOAD: "load", READ_ID_FETCH: "fetch", READ_ID_STORE: "store"}

STRAY_ID = 3
"""An ID that the tile never requests."""


@pytest.mark.parametrize("strays", [False, True])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_each_client_gets_the_answers_to_its_own_requests(stall, strays):
    """Also where beats that nobody requested come between them: those are accepted, and dropped."""
    dut = AxiMaster(preset("tiny"))
    axi = dut.m_axi
    rng = Random(f"arbiter {stall} {strays}")
    requests = {client: deque(range(client << 16, (client << 16) + 50)) for client in CLIENTS}
    expected = {client: list(queue) for client, queue in requests.items()}
    answers = {client: [] for client in CLIENTS}
    dropped = []

    async def bench(ctx):
        on_bus = deque()
        offered, beat = None, None
        asked = dict.fromkeys(CLIENTS, 0)
        for client in CLIENTS.values():
            ctx.set(getattr(dut, f"{client}_r").ready, 1)
        for _ in range(1000):
            for client, name in CLIENTS.items():
                ar = getattr(dut, f"{name}_ar")
                asked[client] |= bool(requests[client]) and rng.random() >= stall
                ctx.set(ar.valid, asked[client])
                if asked[client]:
                    ctx.set(ar.payload.addr, requests[client][0])
            ctx.set(dut.load_room, rng.random() >= stall)
            ar_ready = rng.random() >= stall
            ctx.set(axi.arready, ar_ready)
            if beat is None and strays and rng.random() < 0.3:
                beat = (STRAY_ID, rng.randrange(1 << 16))
            elif beat is None and on_bus and rng.random() >= stall:
                beat = on_bus.popleft()
            ctx.set(axi.rvalid, beat is not None)
            if beat is not None:
                ctx.set(axi.rid, beat[0])
                ctx.set(axi.rdata, beat[1])
            takes = {c: ctx.get(getattr(dut, f"{n}_ar").ready) for c, n in CLIENTS.items()}
            for client, name in CLIENTS.items():
                port = getattr(dut, f"{name}_r")
                if ctx.get(port.valid):
                    answers[client].append(ctx.get(port.payload.data))
            _, _, valid, addr, burst_id, rready = await ctx.tick().sample(
                axi.arvalid, axi.araddr, axi.arid, axi.rready
            )
            if offered is not None:
                assert (valid, addr, burst_id) == (1, *offered), "an offer was changed"
            offered = (addr, burst_id) if valid and not ar_ready else None
            if valid and ar_ready:
                on_bus.append((burst_id, addr))
            for client, taken in takes.items():
                if asked[client] and taken:
                    requests[client].popleft()
                    asked[client] = 0
            if beat is not None and rready:
                if beat[0] == STRAY_ID:
                    dropped.append(beat)
                beat = None

    simulate(dut, bench)
    assert answers == expected
    assert bool(dropped) == strays


def test_beats_go_on_only_while_the_load_engine_has_room():
    """`rready` is `load_room` a cycle before; a beat is with its client a cycle later."""
    dut = AxiMaster(preset("tiny"))
    axi = dut.m_axi
    rng = Random("room")
    rooms, readies, beats = [], [], []

    async def bench(ctx):
        ctx.set(axi.rvalid, 1)
        ctx.set(axi.rid, READ_ID_LOAD)
        for cycle in range(200):
            rooms.append(rng.randrange(2))
            ctx.set(dut.load_room, rooms[-1])
            ctx.set(axi.rdata, cycle)
            beats.append(ctx.get(dut.load_r.payload.data) if ctx.get(dut.load_r.valid) else None)
            _, _, ready = await ctx.tick().sample(axi.rready)
            readies.append(ready)

    simulate(dut, bench)
    assert readies == [0, *rooms[:-1]]
    taken = [cycle if ready else None for cycle, ready in enumerate(readies)]
    assert beats == [None, *taken[:-1]]


def test_the_others_go_before_a_load_unless_that_is_already_offered():
    dut = AxiMaster(preset("tiny"))
    axi = dut.m_axi
    seen = []

    async def bench(ctx):
        for name in CLIENTS.values():
            ctx.set(getattr(dut, f"{name}_ar").payload.len, 7)
        ctx.set(dut.load_ar.valid, 1)
        await ctx.tick()
        ctx.set(dut.fetch_ar.valid, 1)
        ctx.set(dut.store_ar.valid, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.fetch_ar.valid, 0)
        ctx.set(dut.store_ar.valid, 0)
        ctx.set(axi.arready, 1)
        for _ in range(4):
            _, _, valid, burst_id = await ctx.tick().sample(axi.arvalid, axi.arid)
            assert valid
            seen.append(burst_id)

    simulate(dut, bench)
    assert seen == [READ_ID_LOAD, READ_ID_FETCH, READ_ID_STORE, READ_ID_LOAD]


def test_a_load_requests_a_burst_every_cycle():
    dut = AxiMaster(preset("tiny"))
    axi = dut.m_axi
    seen = []

    async def bench(ctx):
        ctx.set(axi.arready, 1)
        ctx.set(dut.load_ar.valid, 1)
        for number in range(20):
            ctx.set(dut.load_ar.payload.addr, number)
            _, _, ready, valid, addr = await ctx.tick().sample(
                dut.load_ar.ready, axi.arvalid, axi.araddr
            )
            assert ready
            seen.append(addr if valid else None)

    simulate(dut, bench)
    assert seen == [None, *range(19)]


@pytest.mark.parametrize(("name", "size"), [("tiny", 3), ("small", 4), ("medium", 5)])
def test_bursts_are_incrementing_and_of_full_beats(name, size):
    dut = AxiMaster(preset(name))
    checked = []

    async def bench(ctx):
        for channel in ("ar", "aw"):
            get = {
                field: ctx.get(getattr(dut.m_axi, channel + field))
                for field in ("size", "burst", "cache", "prot", "lock", "qos", "region")
            }
            assert get == {
                "size": size,
                "burst": 1,
                "cache": 0b0011,
                "prot": 0,
                "lock": 0,
                "qos": 0,
                "region": 0,
            }
            checked.append(channel)

    simulate(dut, bench)
    assert checked == ["ar", "aw"]


class Writes:
    """An engine that writes bursts of one to three beats, and memory, with pauses of both.

    At most `max_writes` bursts are in flight. `address_rate`: how often memory takes an address, of
    the cycles in which it does not pause.

    `events` are the transfers on the bus, in order: ("aw", burst), ("w", burst, last).
    """

    def __init__(self, config, stall, address_rate):
        self.dut, self.stall, self.rng = AxiMaster(config), stall, Random(f"writes {stall}")
        self.most, self.address_rate = config.max_writes, address_rate
        self.lengths = [self.rng.randrange(3) for _ in range(60)]
        self.requests = deque(enumerate(self.lengths))
        self.data = deque(
            (burst, beat == length)
            for burst, length in enumerate(self.lengths)
            for beat in range(length + 1)
        )
        self.events, self.answers, self.got, self.offers = [], [], [], {}
        self.requested = self.addressed = self.ended = self.b_valid = self.cycles = 0

    def lucky(self):
        return self.rng.random() >= self.stall

    def drive(self, ctx):
        """Offers of the engine, and readiness and answers of memory."""
        dut, axi = self.dut, self.dut.m_axi
        room = self.requested - len(self.got) < self.most
        ctx.set(dut.aw.valid, bool(self.requests) and room and self.lucky())
        if self.requests:
            burst, length = self.requests[0]
            ctx.set(dut.aw.payload.addr, burst << 3)
            ctx.set(dut.aw.payload.len, length)
        ctx.set(dut.w.valid, bool(self.data) and self.data[0][0] < self.requested and self.lucky())
        if self.data:
            burst, last = self.data[0]
            ctx.set(dut.w.payload.data, burst)
            ctx.set(dut.w.payload.strb, burst & 0xFF)
            ctx.set(dut.w.payload.last, last)
        ctx.set(axi.awready, self.lucky() and self.rng.random() < self.address_rate)
        ctx.set(axi.wready, self.lucky())
        self.b_valid |= len(self.answers) < min(self.addressed, self.ended) and self.lucky()
        ctx.set(axi.bvalid, self.b_valid)
        ctx.set(axi.bresp, self.ended % 4)
        ctx.set(dut.b.ready, self.lucky())

    def observe(self, ctx):
        """Transfers of this cycle; offers to memory stay as they are until they are taken."""
        dut, axi = self.dut, self.dut.m_axi
        taken = {
            name: ctx.get(port.valid) and ctx.get(port.ready)
            for name, port in (("aw", dut.aw), ("w", dut.w), ("b", dut.b))
        }
        offers = {
            "aw": (ctx.get(axi.awvalid), ctx.get(axi.awaddr), ctx.get(axi.awlen)),
            "w": (ctx.get(axi.wvalid), ctx.get(axi.wdata), ctx.get(axi.wstrb), ctx.get(axi.wlast)),
        }
        assert ctx.get(dut.aw_waits) == offers["aw"][0]
        for name, offer in self.offers.items():
            assert offers[name] == offer, "an offer was changed"
        self.offers = {
            name: offer
            for name, offer in offers.items()
            if offer[0] and not ctx.get(getattr(axi, f"{name}ready"))
        }
        if offers["w"][0]:
            burst = offers["w"][1]
            assert burst < self.addressed + offers["aw"][0], "a beat before its address"
            assert offers["w"][2] == burst & 0xFF
            if "w" not in self.offers:
                self.events.append(("w", burst, offers["w"][3]))
                self.ended += offers["w"][3]
        if offers["aw"][0] and "aw" not in self.offers:
            self.events.append(("aw", offers["aw"][1] >> 3, offers["aw"][2]))
            self.addressed += 1
        if taken["aw"]:
            self.requests.popleft()
            self.requested += 1
        if taken["w"]:
            self.data.popleft()
        if self.b_valid and ctx.get(axi.bready):
            self.b_valid = 0
            self.answers.append(ctx.get(axi.bresp))
        if taken["b"]:
            self.got.append(ctx.get(dut.b.payload))

    async def run(self, ctx):
        """Cycles until every burst is answered."""
        while len(self.got) < len(self.lengths):
            self.drive(ctx)
            self.observe(ctx)
            await ctx.tick()
            self.cycles += 1
            assert self.cycles < 3000


@pytest.mark.parametrize(
    ("stall", "address_rate"), [(0.0, 1.0), (0.3, 1.0), (0.7, 1.0), (0.0, 0.1), (0.3, 0.1)]
)
def test_writes_pass_in_order_and_no_beat_before_its_address(stall, address_rate):
    writes = Writes(preset("tiny"), stall, address_rate)
    beats = list(writes.data)
    simulate(writes.dut, writes.run)
    assert writes.got == writes.answers
    addresses = [event[1:] for event in writes.events if event[0] == "aw"]
    assert addresses == list(enumerate(writes.lengths))
    assert [event[1:] for event in writes.events if event[0] == "w"] == beats
    if stall == 0 and address_rate == 1:
        assert writes.cycles <= len(beats) + 6, "a beat a cycle"


def test_transfers_of_data_are_counted_a_cycle_later():
    dut = AxiMaster(preset("tiny"))
    axi = dut.m_axi
    seen = []

    async def bench(ctx):
        ctx.set(dut.load_room, 1)
        ctx.set(dut.aw.valid, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.aw.valid, 0)
        ctx.set(axi.rvalid, 1)
        await ctx.tick()
        ctx.set(axi.rvalid, 0)
        ctx.set(dut.w.valid, 1)
        for cycle in range(6):
            ctx.set(axi.wready, cycle >= 2)
            ctx.set(dut.w.valid, cycle == 0)
            seen.append((ctx.get(dut.beats.read), ctx.get(dut.beats.write)))
            await ctx.tick()

    simulate(dut, bench)
    assert seen == [(1, 0), (0, 0), (0, 0), (0, 1), (0, 0), (0, 0)]
