"""The AXI master port: whose request goes first, whose answer it is, and what never changes."""

from collections import deque
from random import Random

import pytest

from tegula.bus.arbiter import AxiMaster
from tegula.bus.axi import READ_ID_FETCH, READ_ID_LOAD, READ_ID_STORE
from tegula.config import preset
from verif.support.unit_bench import simulate

CLIENTS = {READ_ID_LOAD: "load", READ_ID_FETCH: "fetch", READ_ID_STORE: "store"}


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_each_client_gets_the_answers_to_its_own_requests(stall):
    dut = AxiMaster(preset("tiny"))
    axi = dut.m_axi
    rng = Random(f"arbiter {stall}")
    requests = {client: deque(range(client << 16, (client << 16) + 50)) for client in CLIENTS}
    expected = {client: list(queue) for client, queue in requests.items()}
    answers = {client: [] for client in CLIENTS}

    async def bench(ctx):
        on_bus = deque()
        offered = None
        asked = dict.fromkeys(CLIENTS, 0)
        r_valid = 0
        for _ in range(1000):
            for client, name in CLIENTS.items():
                ar, r = getattr(dut, f"{name}_ar"), getattr(dut, f"{name}_r")
                asked[client] |= bool(requests[client]) and rng.random() >= stall
                ctx.set(ar.valid, asked[client])
                if asked[client]:
                    ctx.set(ar.payload.addr, requests[client][0])
                ctx.set(r.ready, rng.random() >= stall)
            ar_ready = rng.random() >= stall
            ctx.set(axi.arready, ar_ready)
            if not r_valid and on_bus and rng.random() >= stall:
                r_valid = 1
                ctx.set(axi.rid, on_bus[0][0])
                ctx.set(axi.rdata, on_bus[0][1])
            ctx.set(axi.rvalid, r_valid)
            takes = {c: bool(ctx.get(getattr(dut, f"{n}_ar").ready)) for c, n in CLIENTS.items()}
            gets = {
                c: (ctx.get(getattr(dut, f"{n}_r").valid), ctx.get(getattr(dut, f"{n}_r").ready))
                for c, n in CLIENTS.items()
            }
            _, _, valid, addr, burst_id, rready = await ctx.tick().sample(
                axi.arvalid, axi.araddr, axi.arid, axi.rready
            )
            if offered is not None:
                assert (valid, addr, burst_id) == (1, *offered), "an offer was changed"
            offered = (addr, burst_id) if valid and not ar_ready else None
            if valid and ar_ready:
                assert takes[burst_id]
                assert addr == requests[burst_id].popleft()
                asked[burst_id] = 0
                on_bus.append((burst_id, addr))
            for client, (has, ready) in gets.items():
                if has and ready:
                    assert rready
                    assert client == on_bus[0][0]
                    answers[client].append(on_bus.popleft()[1])
                    r_valid = 0

    simulate(dut, bench)
    assert answers == expected


def test_the_others_go_before_a_load_unless_that_is_already_offered():
    dut = AxiMaster(preset("tiny"))
    axi = dut.m_axi
    seen = []

    async def bench(ctx):
        ctx.set(dut.load_ar.valid, 1)
        await ctx.tick()
        ctx.set(dut.fetch_ar.valid, 1)
        ctx.set(dut.store_ar.valid, 1)
        await ctx.tick()
        ctx.set(axi.arready, 1)
        for _ in range(3):
            _, _, burst_id = await ctx.tick().sample(axi.arid)
            seen.append(burst_id)
        ctx.set(dut.fetch_ar.valid, 0)
        _, _, burst_id = await ctx.tick().sample(axi.arid)
        seen.append(burst_id)

    simulate(dut, bench)
    assert seen == [READ_ID_LOAD, READ_ID_FETCH, READ_ID_FETCH, READ_ID_STORE]


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


def test_the_write_channels_pass_through():
    config = preset("tiny")
    dut = AxiMaster(config)
    axi = dut.m_axi
    checked = []

    async def bench(ctx):
        ctx.set(dut.aw.valid, 1)
        ctx.set(dut.aw.payload.addr, 0x1238)
        ctx.set(dut.aw.payload.len, 7)
        ctx.set(dut.w.valid, 1)
        ctx.set(dut.w.payload.data, 0x0123456789ABCDEF)
        ctx.set(dut.w.payload.strb, 0x5A)
        ctx.set(dut.w.payload.last, 1)
        ctx.set(axi.awready, 1)
        ctx.set(axi.bvalid, 1)
        ctx.set(axi.bresp, 2)
        assert (ctx.get(axi.awvalid), ctx.get(axi.awaddr), ctx.get(axi.awlen)) == (1, 0x1238, 7)
        assert (ctx.get(axi.wvalid), ctx.get(axi.wdata)) == (1, 0x0123456789ABCDEF)
        assert (ctx.get(axi.wstrb), ctx.get(axi.wlast)) == (0x5A, 1)
        assert (ctx.get(dut.aw.ready), ctx.get(dut.w.ready), ctx.get(axi.bready)) == (1, 0, 0)
        assert (ctx.get(dut.b.valid), ctx.get(dut.b.payload)) == (1, 2)
        checked.append(True)

    simulate(dut, bench)
    assert checked
