"""Memory and scratchpad peers of the two DMA engines."""

from collections import deque

from amaranth.hdl import Cat, Value

from tegula.dma.load import LoadEngine
from tegula.dma.store import StoreEngine
from tegula.isa.instructions import Layout
from verif.support.dma_bench import Bench
from verif.support.dma_models import BASE, split
from verif.support.kept import KEPT_BITS

BUS_CYCLES = 1
"""Cycles in which the bus holds a request at least."""


def read_words(bench, item):
    """The words that a request asks for."""
    config = bench.config
    bits = (config.n - 1).bit_length()
    depth_bits = (config.sbuf_depth - 1).bit_length()
    _, layout, partition, addr = split(item, [1, 1, bits, depth_bits])
    if layout == Layout.FREE:
        assert addr % config.bus_words == 0
        words = bench.sbuf[partition, addr : addr + config.bus_words]
    else:
        assert partition % config.row_words == 0
        words = bench.sbuf[partition : partition + config.row_words, addr]
    return sum(int(word) << 16 * i for i, word in enumerate(words))


class LoadBench(Bench):
    """A memory that is read, and a scratchpad that is written, and read where loads accumulate.

    The bus registers `room` as its ready, and each beat, and holds two requests. A read of the
    scratchpad sees what was written before it is accepted. The scratchpad holds up to `most_writes`
    writes; each takes at least `write_latency` cycles. With `stray`, beats come that were not
    requested, some of them with errors. `moved` has the cycles in which beats came, and those in
    which writes were taken.
    """

    engine = LoadEngine
    read_latency = 3
    write_latency = 3
    most_writes = 4
    stray = False

    def prepare(self):
        self.buffered = deque()  # requests that the bus holds
        self.requests = deque()  # (first cycle of the answer, addr, beats left)
        self.reads = deque()  # (cycle of the answer, words)
        self.writes = deque()  # (first cycle in which it may land, words by place, last)
        self.now = 0
        self.arriving = None  # (data, bad, last) of the beat that the bus has registered
        self.ar_ready = self.r_ready = self.r_valid = self.write_ready = self.read_ready = 0
        self.written = []
        self.moved = [], []
        self.strays = 0

    def probes(self):
        dut = self.dut
        return [
            Cat(dut.ar.valid, dut.ar.payload),
            Cat(dut.r.ready, dut.room),
            Cat(dut.write.request.valid, dut.write.request.payload),
            Cat(dut.read.request.valid, dut.read.request.payload),
        ]

    def quiet(self):
        pending = (self.buffered, self.requests, self.held, self.reads, self.writes)
        return not any(pending) and self.arriving is None

    def drive(self, ctx):
        dut = self.dut
        self.ar_ready, self.read_ready = int(len(self.buffered) < 2), int(self.lucky())
        self.write_ready = int(self.lucky() and len(self.writes) < self.most_writes)
        ctx.set(dut.read.request.ready, self.read_ready)
        arrives = bool(self.reads) and self.reads[0][0] <= self.now and self.lucky()
        ctx.set(dut.read.valid, arrives)
        if arrives:
            ctx.set(Value.cast(dut.read.data), self.reads.popleft()[1])
        ctx.set(dut.ar.ready, self.ar_ready)
        ctx.set(dut.write.request.ready, self.write_ready)
        lands = bool(self.writes) and self.writes[0][0] <= self.now and self.lucky()
        last = 0
        if lands:
            _, self.written, last = self.writes.popleft()
        ctx.set(dut.write.written, lands)
        ctx.set(dut.write.written_last, lands and last)
        self.drive_beat(ctx)

    def drive_beat(self, ctx):
        """The beat that the bus has registered, and what memory offers to the bus."""
        dut = self.dut
        expects = bool(self.requests or self.buffered)
        stray = self.stray and self.arriving is None and not expects and self.lucky()
        if stray:
            self.strays += 1
            bad, last = self.rng.random() < 0.5, self.rng.random() < 0.5
            self.arriving = (self.rng.randbytes(self.config.bus_bytes), bad, last)
        self.r_arrives = self.arriving is not None
        ctx.set(dut.r.valid, self.r_arrives)
        if self.r_arrives:
            data, bad, last = self.arriving
            ctx.set(dut.r.payload.data, int.from_bytes(data, "little"))
            ctx.set(dut.r.payload.resp, self.response if bad else 0)
            ctx.set(dut.r.payload.last, last)
            self.cut_short |= bad and not stray
            self.outcome.beats += not stray
        self.arriving = None
        due = bool(self.requests) and self.requests[0][0] <= self.now
        self.r_valid |= due and self.lucky()
        if self.r_valid and self.r_ready:
            self.r_valid = False
            due, addr, left = self.requests.popleft()
            data = bytes(
                self.memory[i] if 0 <= i < len(self.memory) else 0xEE
                for i in range(addr - BASE, addr - BASE + self.config.bus_bytes)
            )
            self.arriving = (data, self.is_bad(addr), left == 0)
            if left:
                self.requests.appendleft((due, addr + self.config.bus_bytes, left - 1))

    def settle(self, sampled):
        ar, beat, write, read = sampled
        config = self.config
        self.now += 1
        assert beat & 1 or not self.r_arrives, "a beat came without room for it"
        if self.r_arrives:
            self.moved[0].append(self.now)
        self.r_ready = beat >> 1
        if self.buffered and self.lucky():
            _, addr, length = split(self.buffered.popleft(), [1, config.axi_addr_width, 8])
            self.accept_burst(addr, length, len(self.requests), config.max_reads)
            self.requests.append((self.now + self.latency - 1, addr, length))
        if self.hold("ar", ar & 1, self.ar_ready, ar):
            self.buffered.append(ar)
        if self.hold("read", read & 1, self.read_ready, read):
            assert not self.reads, "a second read"
            self.reads.append((self.now + self.read_latency - 1, read_words(self, read)))
        for place, word, kept in self.written:
            self.sbuf[place] = self.sbuf[place] & kept | word & ~kept
            self.outcome.effects += 1
        self.written = []
        if self.hold("write", write & 1, self.write_ready, write):
            self.moved[1].append(self.now)
            self.write(write)

    def write(self, item):
        """Queue the words of a chunk for the scratchpad."""
        config = self.config
        bits = (config.n - 1).bit_length()
        depth_bits = (config.sbuf_depth - 1).bit_length()
        keep_bits = 2 if config.packed_fp8 else 0
        _, layout, partition, addr, data, mask, keep, last = split(
            item, [1, 1, bits, depth_bits, 16 * config.bus_words, config.bus_words, keep_bits, 1]
        )
        free = layout == Layout.FREE
        assert mask, "a write without words"
        assert (addr if free else partition) % (config.bus_words if free else config.row_words) == 0
        words = []
        for word in range(config.bus_words):
            if mask >> word & 1:
                assert free or word < config.row_words
                place = (partition, addr + word) if free else (partition + word, addr)
                words.append((place, data >> 16 * word & 0xFFFF, KEPT_BITS[keep]))
        self.writes.append((self.now + self.write_latency - 1, words, last))


class StoreBench(Bench):
    """A scratchpad that is read, and a memory that is written, and read where stores accumulate.

    A read sees memory as it is when its address is accepted, a write lands with its answer. With
    `stray`, beats and answers come that were not requested.
    `effects` counts the bytes of bursts that are answered; `read_bursts` are (address, beats - 1),
    `written` are the beats (address, strobes, data).
    With `reads_first` no write beat is taken while a read is not answered; with `address_last` no
    address before the last beat of its burst; with `data_last` no beat before the address, which
    is taken in a tenth of the cycles.
    `held_back` counts the cycles in which one waited for that. `moved` has the cycles in which
    words came, and those in which beats were taken.

    Between engine and memory lie the buffers of the bus (`AxiMaster`): of two requests, two beats
    and one read request. It offers no beat before the address of its burst.
    """

    engine = StoreEngine
    read_latency = 3
    outstanding_reads = 16
    reads_first = address_last = data_last = stray = False
    held_back = strays = 0

    def prepare(self):
        self.reads = deque()  # (cycle of the answer, words)
        self.bursts = deque()  # [addr, beats left, bytes, bad] requested, beats not all sent
        self.buffered = {"aw": deque(), "w": deque(), "ar": deque()}  # what the bus holds
        self.addressed = 0  # bursts whose address is or was offered, and whose last beat is not
        self.early = deque()  # W beats that are here before their burst's request is taken
        self.whole = 0  # last beats among them
        self.answers = deque()  # (first cycle, bytes to land as (index, value), bad)
        self.beats = deque()  # (first cycle, data, bad, last) of reads
        self.read_bursts = []
        self.written = []
        self.moved = [], []
        self.ar_ready = self.r_valid = 0
        self.now = 0
        self.read_ready = self.aw_ready = self.w_ready = self.b_valid = 0

    def probes(self):
        dut = self.dut
        return [
            Cat(dut.read.request.valid, dut.read.request.payload),
            Cat(dut.aw.valid, dut.aw.payload),
            Cat(dut.w.valid, dut.w.payload),
            dut.b.ready,
            Cat(dut.ar.valid, dut.ar.payload),
            dut.r.ready,
        ]

    def quiet(self):
        pending = (self.reads, self.bursts, self.early, self.answers, self.beats, self.held)
        return not any((*pending, *self.buffered.values()))

    def drive(self, ctx):
        dut = self.dut
        self.read_ready = int(self.lucky())
        self.address_waits = self.address_last and not self.whole
        self.data_waits = (self.reads_first and bool(self.beats)) or (
            self.data_last and not self.bursts
        )
        slow = self.data_last and self.rng.random() > 0.1
        self.aw_taken = self.lucky() and not self.address_waits and not slow
        self.w_taken = self.lucky() and not self.data_waits
        self.aw_ready, self.w_ready, self.ar_ready = (
            int(len(self.buffered[name]) < size) for name, size in (("aw", 2), ("w", 2), ("ar", 1))
        )
        ctx.set(dut.read.request.ready, self.read_ready)
        ctx.set(dut.aw.ready, self.aw_ready)
        ctx.set(dut.aw_waits, bool(self.buffered["aw"]))
        ctx.set(dut.w.ready, self.w_ready)
        arrives = bool(self.reads) and self.reads[0][0] <= self.now and self.lucky()
        ctx.set(dut.read.valid, arrives)
        if arrives:
            self.moved[0].append(self.now + 1)
            ctx.set(Value.cast(dut.read.data), self.reads.popleft()[1])
        if not self.b_valid and self.answers and self.answers[0][0] <= self.now and self.lucky():
            self.b_valid = 1
            ctx.set(dut.b.payload, self.response if self.answers[0][2] else 0)
            self.cut_short |= self.answers[0][2]
        stray = self.stray and self.lucky()
        writes = self.b_valid or self.bursts or self.answers or self.buffered["aw"]
        reads = self.beats or self.buffered["ar"]
        stray_answer, stray_beat = stray and not writes, stray and not reads
        self.strays += stray_answer + stray_beat
        if stray_answer:
            ctx.set(dut.b.payload, self.response)
        ctx.set(dut.b.valid, self.b_valid or stray_answer)
        ctx.set(dut.ar.ready, self.ar_ready)
        if not self.r_valid and self.beats and self.beats[0][0] <= self.now and self.lucky():
            _, data, bad, last = self.beats[0]
            self.r_valid = 1
            ctx.set(dut.r.payload.data, int.from_bytes(data, "little"))
            ctx.set(dut.r.payload.resp, self.response if bad else 0)
            ctx.set(dut.r.payload.last, last)
            self.cut_short |= bad
        if stray_beat:
            ctx.set(dut.r.payload.resp, self.response)
            ctx.set(dut.r.payload.last, 1)
        ctx.set(dut.r.valid, self.r_valid or stray_beat)

    def settle(self, sampled):
        read, aw, w, b_ready, ar, r_ready = sampled
        self.now += 1
        if self.b_valid and b_ready:
            self.b_valid = 0
            _, landing, _ = self.answers.popleft()
            for index, value in landing:
                self.memory[index] = value
            self.outcome.effects += len(landing)
        if self.r_valid:
            assert r_ready, "a beat was requested without room for it"
            self.r_valid = 0
            self.beats.popleft()
        self.serve()
        for name, item, ready in (
            ("ar", ar, self.ar_ready),
            ("aw", aw, self.aw_ready),
            ("w", w, self.w_ready),
        ):
            if self.hold(name, item & 1, ready, item):
                self.buffered[name].append(item)
                if name == "w":
                    self.moved[1].append(self.now)
        if self.hold("read", read & 1, self.read_ready, read):
            assert len(self.reads) < self.outstanding_reads
            self.reads.append((self.now + self.read_latency - 1, read_words(self, read)))

    def serve(self):
        """Let memory take what the bus offers."""
        config, buffered = self.config, self.buffered
        addresses, data = buffered["aw"], buffered["w"]
        is_offered = bool(data) and self.addressed + bool(addresses) > 0
        self.held_back += (self.data_waits and is_offered) or (
            self.address_waits and bool(addresses)
        )
        if buffered["ar"] and self.lucky():
            assert not self.beats, "a second burst is read"
            self.read_burst(*split(buffered["ar"].popleft(), [1, config.axi_addr_width, 8])[1:])
        if is_offered and self.w_taken:
            beat = data.popleft()
            last = beat >> (config.axi_data_width + config.bus_bytes + 1)
            self.outcome.beats += 1
            self.early.append(beat)
            self.whole += last
            self.addressed -= last
        if addresses and self.aw_taken:
            _, addr, length = split(addresses.popleft(), [1, config.axi_addr_width, 8])
            outstanding = len(self.bursts) + len(self.answers)
            self.accept_burst(addr, length, outstanding, config.max_writes)
            self.bursts.append([addr, length, [], False])
            self.addressed += 1
        while self.early and self.bursts:
            self.write(self.early.popleft())

    def read_burst(self, addr, length):
        """Queue the beats of a burst."""
        size = self.config.bus_bytes
        self.read_bursts.append((addr, length))
        for beat in range(length + 1):
            start = addr + beat * size - BASE
            data = self.memory[start : start + size].tobytes()
            bad = self.is_read_bad(addr + beat * size)
            self.beats.append((self.now + self.latency - 1, data, bad, beat == length))

    def write(self, beat):
        """Take a beat for memory."""
        config = self.config
        burst = self.bursts[0]
        addr, left, _, _ = burst
        _, data, strb, last = split(beat, [1, config.axi_data_width, config.bus_bytes, 1])
        assert last == (left == 0), "last beat of a burst"
        self.written.append((addr, strb, data))
        bad = self.is_bad(addr)
        for lane in range(config.bus_bytes):
            if strb >> lane & 1:
                index = addr + lane - BASE
                assert 0 <= index < len(self.memory), "write outside of memory"
                if not bad:
                    burst[2].append((index, data >> 8 * lane & 0xFF))
        burst[3] = burst[3] or bad
        burst[0], burst[1] = addr + config.bus_bytes, left - 1
        if last:
            self.whole -= 1
            self.bursts.popleft()
            self.answers.append((self.now + self.latency - 1, burst[2], burst[3]))
