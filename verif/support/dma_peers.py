"""Memory and scratchpad peers of the two DMA engines."""

from collections import deque

from amaranth.hdl import Cat, Value

from tegula.dma.load import LoadEngine
from tegula.dma.store import StoreEngine
from tegula.isa.instructions import Layout
from verif.support.dma_bench import Bench
from verif.support.dma_models import BASE, split


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
    """A memory that is read, and a scratchpad that is written, and read where loads accumulate."""

    engine = LoadEngine
    read_latency = 2

    def prepare(self):
        self.requests = deque()  # (first cycle of the answer, addr, beats left)
        self.reads = deque()  # (cycle of the answer, words)
        self.unseen = []  # (place, word) of the last write, which a read may not see yet
        self.now = 0
        self.ar_ready = self.r_valid = self.write_ready = self.read_ready = 0

    def probes(self):
        dut = self.dut
        return [
            Cat(dut.ar.valid, dut.ar.payload),
            dut.r.ready,
            Cat(dut.write.valid, dut.write.payload),
            Cat(dut.read.request.valid, dut.read.request.payload),
        ]

    def quiet(self):
        return not self.requests and not self.held and not self.reads

    def drive(self, ctx):
        dut = self.dut
        self.ar_ready, self.write_ready = int(self.lucky()), int(self.lucky())
        self.read_ready = int(self.lucky())
        ctx.set(dut.read.request.ready, self.read_ready)
        arrives = bool(self.reads) and self.reads[0][0] <= self.now and self.lucky()
        ctx.set(dut.read.valid, arrives)
        if arrives:
            ctx.set(Value.cast(dut.read.data), self.reads.popleft()[1])
        ctx.set(dut.ar.ready, self.ar_ready)
        ctx.set(dut.write.ready, self.write_ready)
        if not self.r_valid and self.requests and self.requests[0][0] <= self.now and self.lucky():
            _, addr, left = self.requests[0]
            size = self.config.bus_bytes
            self.r_valid = 1
            start = addr - BASE
            data = bytes(
                self.memory[i] if 0 <= i < len(self.memory) else 0xEE
                for i in range(start, start + size)
            )
            bad = self.is_bad(addr)
            ctx.set(dut.r.payload.data, int.from_bytes(data, "little"))
            ctx.set(dut.r.payload.resp, self.response if bad else 0)
            ctx.set(dut.r.payload.last, left == 0)
        ctx.set(dut.r.valid, self.r_valid)

    def settle(self, sampled):
        ar, r_ready, write, read = sampled
        config = self.config
        self.now += 1
        if self.r_valid and r_ready:
            self.outcome.beats += 1
            self.r_valid = 0
            due, addr, left = self.requests.popleft()
            if left:
                self.requests.appendleft((due, addr + config.bus_bytes, left - 1))
        if self.hold("ar", ar & 1, self.ar_ready, ar):
            _, addr, length = split(ar, [1, config.axi_addr_width, 8])
            self.accept_burst(addr, length, len(self.requests), config.max_reads)
            self.requests.append((self.now + self.latency - 1, addr, length))
        written_before, self.unseen = self.unseen, []
        if self.hold("read", read & 1, self.read_ready, read):
            assert not self.reads, "a second read"
            self.reads.append((self.now + self.read_latency - 1, read_words(self, read)))
        for place, word in written_before:
            self.sbuf[place] = word
        if self.hold("write", write & 1, self.write_ready, write):
            self.write(write)

    def write(self, item):
        """Write the words of a chunk into the scratchpad."""
        config = self.config
        bits = (config.n - 1).bit_length()
        depth_bits = (config.sbuf_depth - 1).bit_length()
        _, layout, partition, addr, data, mask = split(
            item, [1, 1, bits, depth_bits, 16 * config.bus_words, config.bus_words]
        )
        free = layout == Layout.FREE
        assert mask, "a write without words"
        assert (addr if free else partition) % (config.bus_words if free else config.row_words) == 0
        for word in range(config.bus_words):
            if mask >> word & 1:
                assert free or word < config.row_words
                place = (partition, addr + word) if free else (partition + word, addr)
                self.unseen.append((place, data >> 16 * word & 0xFFFF))
                self.outcome.effects += 1


class StoreBench(Bench):
    """A scratchpad that is read, and a memory that is written, and read where stores accumulate.

    A read sees memory as it is when its address is accepted, a write lands with its answer.
    `effects` counts the bytes of bursts that are answered; `read_bursts` are (address, beats - 1),
    `written` are the beats (address, strobes, data).
    With `reads_first` no write beat is taken while a read is not answered; with `address_last` no
    address before the last beat of its burst; with `data_last` no beat before the address, which
    is taken in a tenth of the cycles.
    `held_back` counts the cycles in which one waited for that.
    """

    engine = StoreEngine
    read_latency = 3
    outstanding_reads = 16
    reads_first = address_last = data_last = False
    held_back = 0

    def prepare(self):
        self.reads = deque()  # (cycle of the answer, words)
        self.bursts = deque()  # [addr, beats left, bytes, bad] requested, beats not all sent
        self.early = deque()  # W beats that are here before their burst's request is taken
        self.whole = 0  # last beats among them
        self.answers = deque()  # (first cycle, bytes to land as (index, value), bad)
        self.beats = deque()  # (first cycle, data, bad, last) of reads
        self.read_bursts = []
        self.written = []
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
        return not any(pending)

    def drive(self, ctx):
        dut = self.dut
        self.read_ready = int(self.lucky())
        self.address_waits = self.address_last and not self.whole
        self.data_waits = (self.reads_first and bool(self.beats)) or (
            self.data_last and not self.bursts
        )
        slow = self.data_last and self.rng.random() > 0.1
        self.aw_ready = int(self.lucky() and not self.address_waits and not slow)
        self.w_ready = int(self.lucky() and not self.data_waits)
        ctx.set(dut.read.request.ready, self.read_ready)
        ctx.set(dut.aw.ready, self.aw_ready)
        ctx.set(dut.w.ready, self.w_ready)
        arrives = bool(self.reads) and self.reads[0][0] <= self.now and self.lucky()
        ctx.set(dut.read.valid, arrives)
        if arrives:
            ctx.set(Value.cast(dut.read.data), self.reads.popleft()[1])
        if not self.b_valid and self.answers and self.answers[0][0] <= self.now and self.lucky():
            self.b_valid = 1
            ctx.set(dut.b.payload, self.response if self.answers[0][2] else 0)
        ctx.set(dut.b.valid, self.b_valid)
        self.ar_ready = int(self.lucky())
        ctx.set(dut.ar.ready, self.ar_ready)
        if not self.r_valid and self.beats and self.beats[0][0] <= self.now and self.lucky():
            _, data, bad, last = self.beats[0]
            self.r_valid = 1
            ctx.set(dut.r.payload.data, int.from_bytes(data, "little"))
            ctx.set(dut.r.payload.resp, self.response if bad else 0)
            ctx.set(dut.r.payload.last, last)
        ctx.set(dut.r.valid, self.r_valid)

    def settle(self, sampled):
        read, aw, w, b_ready, ar, r_ready = sampled
        config = self.config
        self.now += 1
        if self.b_valid and b_ready:
            self.b_valid = 0
            _, landing, _ = self.answers.popleft()
            for index, value in landing:
                self.memory[index] = value
            self.outcome.effects += len(landing)
        self.held_back += bool((self.data_waits and w & 1) or (self.address_waits and aw & 1))
        if self.r_valid:
            assert r_ready, "a beat was requested without room for it"
            self.r_valid = 0
            self.beats.popleft()
        if self.hold("ar", ar & 1, self.ar_ready, ar):
            assert not self.beats, "a second burst is read"
            self.read_burst(*split(ar, [1, config.axi_addr_width, 8])[1:])
        if self.hold("read", read & 1, self.read_ready, read):
            assert len(self.reads) < self.outstanding_reads
            self.reads.append((self.now + self.read_latency - 1, read_words(self, read)))
        if self.hold("aw", aw & 1, self.aw_ready, aw):
            _, addr, length = split(aw, [1, config.axi_addr_width, 8])
            outstanding = len(self.bursts) + len(self.answers)
            self.accept_burst(addr, length, outstanding, config.max_writes)
            self.bursts.append([addr, length, [], False])
        if self.hold("w", w & 1, self.w_ready, w):
            self.outcome.beats += 1
            self.early.append(w)
            self.whole += w >> (config.axi_data_width + config.bus_bytes + 1)
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
