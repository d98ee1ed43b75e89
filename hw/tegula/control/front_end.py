"""The front end of the tile: host registers to engines, and traps back to the host."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.bus.axi import (
    Axi4LiteSignature,
    BeatsSignature,
    WindowSignature,
    axi_read_data_layout,
    axi_request_layout,
)
from tegula.config import TileConfig
from tegula.control.burst_requests import FETCH_CYCLES
from tegula.control.counters import EVENTS, Counters
from tegula.control.decoder import Decoder
from tegula.control.fetch import Fetch
from tegula.control.ordinals import Ordinals
from tegula.control.queues import EngineQueue
from tegula.control.reads import NumberReads
from tegula.control.registers import ADDRESS_BITS, WRITE_CYCLES, RegisterFile
from tegula.control.semaphores import SIGNAL_PORTS, SemaphoreFile
from tegula.control.sequencer import Sequencer
from tegula.control.sums import FieldSums
from tegula.control.trap_record import TrapRecord, source_layout
from tegula.control.watchdog import Progress
from tegula.engine.interface import EngineSignature, trace_signature
from tegula.isa.instructions import ENGINES, GRANULE_BYTES, MEMORY_ADDRESS_BITS, PC_BITS, Engine
from tegula.isa.registers import CONTROL_ABORT, CONTROL_START, Status
from tegula.isa.traps import Trap

__all__ = ["END_CYCLES", "FETCH_REQUEST_CYCLES", "Control"]

FETCH_REQUEST_CYCLES = WRITE_CYCLES + 1 + FETCH_CYCLES
"""Cycles from the handshake that completes the write of the start bit to the first `ar.valid`."""

END_CYCLES = 1
"""Cycles from the first in which a program is found to be over to the interrupt."""

_PROGRAM_ALIGNMENT = 64


class Control(wiring.Component):
    """Execution of programs: fetch, decode, dispatch, waits, signals, counters, traps, interrupt.

    A program ends in one of two ways. At `halt`, when all queues are empty and all engines idle:
    DONE. At a trap: the first is recorded, the queues are emptied, `stop` holds until all engines
    are idle and no fetch is outstanding: TRAPPED. Either raises the interrupt. No output is a
    combinational function of an input.

    Traps of decode (illegal instruction, bus error of a fetch, end of the program) are precise:
    they are taken when no earlier instruction can go on, so all that could complete have, and a
    trap of an earlier instruction comes first. Traps in one cycle rank control first, then
    a semaphore's overflow, then `ENGINES`.

    Parameters
    ----------
    config
        Everything.

    Members
    -------
    s_axil : In(Axi4LiteSignature)
        The host's port.
    irq : Out(1)
        Level: IRQ is pending and enabled. A start clears IRQ, so each program's end is an edge.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        Instruction fetch. `r.ready` is always high.
    <engine> : In(EngineSignature(config, engine, SIGNAL_PORTS[engine]))
        The engines, with `SIGNAL_PORTS` signal ports each.
    start : Out(1)
        For one cycle: a program begins; the engines are idle.
    window : Out(WindowSignature)
        `window.last` is clipped to the addresses that the bus has. A base of more than 48 bits is a
        window without bytes.
    beats : In(BeatsSignature)
        Events of the bus, for the counters.
    trace_control : Out(StructLayout(CONTROL_FIELDS))
    trace_<engine> : Out(StructLayout(ENGINE_FIELDS))
        In a traced tile: `trace_signature`.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "s_axil": In(Axi4LiteSignature(addr_width=ADDRESS_BITS)),
                "irq": Out(1),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "r": In(stream.Signature(axi_read_data_layout(config))),
                **{
                    engine.name.lower(): In(EngineSignature(config, engine, SIGNAL_PORTS[engine]))
                    for engine in ENGINES
                },
                "start": Out(1),
                "window": Out(WindowSignature()),
                "beats": In(BeatsSignature()),
                **trace_signature(config),
            }
        )

    def elaborate(self, platform):
        """Submodules, the path of instructions, then the sequence of a program."""
        config = self._config
        m = Module()
        m.submodules.registers = registers = RegisterFile(config)
        m.submodules.fetch = fetch = Fetch(config)
        m.submodules.decoder = decoder = Decoder(config)
        m.submodules.sums = sums = FieldSums()
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.numbers = numbers = NumberReads(config)
        m.submodules.semaphores = semaphores = SemaphoreFile(config)
        m.submodules.progress = progress = Progress(config)
        m.submodules.counters = counters = Counters()
        m.submodules.trap_record = record = TrapRecord(2 + len(ENGINES))
        queues = {}
        for engine in ENGINES:
            name = engine.name.lower()
            queues[engine] = m.submodules[f"{name}_queue"] = EngineQueue(config, engine)

        connect(m, flipped(self.s_axil), registers.s_axil)
        connect(m, numbers.ar, flipped(self.ar))
        connect(m, flipped(self.r), numbers.r)
        connect(m, fetch.ar, numbers.fetch_ar)
        connect(m, numbers.fetch_r, fetch.r)
        connect(m, fetch.granule, sums.granule)
        connect(m, sums.checked, decoder.granule)
        self._connect_sequencer(m, fetch, sums, decoder, sequencer, numbers)
        connect(m, sequencer.wait, semaphores.waits[len(ENGINES)])
        self._connect_engines(m, decoder, queues, semaphores)
        connect(m, registers.signal, semaphores.signals[len(semaphores.signals) - 1])
        self._connect_progress(m, queues, decoder, registers, semaphores, progress)
        waits = sequencer.wait
        m.d.comb += [
            progress.waiting[len(ENGINES)].eq(waits.valid),
            progress.head_tag[len(ENGINES)].eq((decoder.position - 1)[:PC_BITS]),
            progress.head_sem[len(ENGINES)].eq(waits.payload.sem),
        ]
        self._connect_counters(m, queues, registers, counters)

        illegal, outside = self._check_program(m, registers)
        running, stopping, done, trapped = Signal(), Signal(), Signal(), Signal()
        busy, ends = Signal(), Signal()
        self._trap(m, record, registers, decoder, progress, semaphores, illegal, outside)

        m.d.comb += [
            self.start.eq((registers.control & CONTROL_START).any() & ~busy),
            semaphores.clear.eq(~running),
            counters.clear.eq(self.start),
            record.clear.eq(self.start),
            counters.run.eq(busy),
            # A trap in the last cycle comes too late: the program is done.
            record.enable.eq(running & ~ends),
            decoder.clear.eq(~running),
            sequencer.clear.eq(~running),
            sums.clear.eq(~running),
            [queue.clear.eq(~running) for queue in queues.values()],
            [getattr(self, engine.name.lower()).stop.eq(stopping) for engine in ENGINES],
            fetch.program.eq(Cat(registers.program_low, registers.program_high)),
            fetch.granules.eq(registers.program_bytes // GRANULE_BYTES),
            decoder.granules.eq(fetch.granules),
            decoder.failed_burst.eq(fetch.failed_burst),
            fetch.start.eq(self.start & ~illegal & ~outside),
            fetch.stop.eq(stopping | decoder.halted),
            progress.run.eq(stopping | (running & ~record.taken)),
            progress.others.eq(
                fetch.idle & numbers.idle & (stopping | (decoder.halted & semaphores.idle))
            ),
            progress.stopping.eq(stopping),
            busy.eq(running | stopping),
            ends.eq(progress.drained & ~record.taken),
        ]
        with m.If(self.start):
            m.d.sync += [running.eq(1), done.eq(0), trapped.eq(0)]
        with m.If(running & (ends | record.taken)):
            m.d.sync += [running.eq(0), done.eq(ends), stopping.eq(record.taken)]
        with m.If(stopping & progress.drained):
            m.d.sync += [stopping.eq(0), trapped.eq(1)]
        m.d.comb += [
            registers.busy.eq(busy),
            registers.running.eq(running),
            registers.irq_set.eq((running & ends) | (stopping & progress.drained)),
            registers.irq_clear.eq(self.start),
            registers.status.eq(
                busy << Status.BUSY | done << Status.DONE | trapped << Status.TRAPPED
            ),
            self.irq.eq(registers.irq[0] & registers.irq_enable[0]),
        ]
        if config.trace:
            m.d.comb += [
                self.trace_control.running.eq(busy),
                self.trace_control.halted.eq(running & decoder.halted),
                self.trace_control.stopping.eq(stopping),
                self.trace_control.moving.eq(fetch.granule.valid & fetch.granule.ready),
            ]
            self._trace(m, queues)
        return m

    def _connect_engines(self, m: Module, decoder, queues, semaphores) -> None:
        ports = iter(list(semaphores.signals))
        for index, (engine, queue) in enumerate(queues.items()):
            port = getattr(self, engine.name.lower())
            m.d.comb += queue.part.eq(decoder.part)
            connect(m, getattr(decoder, engine.name.lower()), queue.dispatch)
            connect(m, queue.wait, semaphores.waits[index])
            connect(m, queue.instr, flipped(port.instr))
            for signal in port.signals:
                connect(m, flipped(signal), next(ports))

    def _connect_sequencer(self, m: Module, fetch, sums, decoder, sequencer, numbers) -> None:
        """The execution of instructions of control, and the sums of fields behind it."""
        connect(m, decoder.control, sequencer.control)
        connect(m, sequencer.jump, fetch.jump)
        connect(m, sequencer.read, numbers.read)
        jumps = sequencer.jump.valid & sequencer.jump.ready
        m.d.comb += [
            sequencer.position.eq(decoder.position),
            sequencer.operand.eq(sums.operand),
            sequencer.number.eq(numbers.number),
            sequencer.window.base.eq(self.window.base),
            sequencer.window.last.eq(self.window.last),
            numbers.quiet.eq(fetch.quiet),
            sums.control.eq(decoder.control.payload),
            sums.executes.eq(decoder.control.valid),
            sums.arms.eq(sequencer.arms),
            sums.adds.eq(sequencer.adds),
            sums.reads.eq(sequencer.reads),
            sums.number.eq(numbers.number.value),
            sums.holds.eq(jumps),
            fetch.replace.eq(sums.replace),
            fetch.replacement.eq(sums.replacement),
            decoder.misused.eq(sums.misused),
            decoder.beyond.eq(sums.beyond),
            decoder.slot.eq(sums.slot),
            decoder.refused.eq(sequencer.refused),
            decoder.refusal.eq(sequencer.refusal),
            decoder.refused_address.eq(sequencer.refused_address),
            decoder.target.eq(sequencer.target),
            decoder.jump.eq(jumps),
            decoder.waits.eq(sequencer.wait.valid),
        ]

    def _connect_progress(
        self, m: Module, queues, decoder, registers, semaphores, progress
    ) -> None:
        for index, (engine, queue) in enumerate(queues.items()):
            m.d.comb += [
                progress.idle[index].eq(getattr(self, engine.name.lower()).idle),
                progress.empty[index].eq(queue.empty),
                progress.waiting[index].eq(queue.waiting),
                progress.head_tag[index].eq(queue.head_tag),
                progress.head_sem[index].eq(queue.head_sem),
            ]
        m.d.comb += [
            progress.signalled.eq(semaphores.from_host),
            progress.stuck.eq(decoder.stuck | decoder.fault),
            progress.limit.eq(registers.watchdog),
        ]

    def _connect_counters(self, m: Module, queues, registers, counters) -> None:
        for index, (engine, queue) in enumerate(queues.items()):
            port = getattr(self, engine.name.lower())
            m.d.comb += [
                counters.busy[index].eq(port.busy),
                counters.wait[index].eq(port.idle & queue.waiting),
                counters.stall[index].eq(port.stall),
            ]
            for event in EVENTS:
                name = f"{engine.name.lower()}_{event}"
                m.d.comb += getattr(registers, name).eq(getattr(counters, name))
        m.d.comb += [
            counters.read_beat.eq(self.beats.read),
            counters.write_beat.eq(self.beats.write),
            registers.read_beats.eq(counters.read_beats),
            registers.write_beats.eq(counters.write_beats),
            Cat(registers.cycles_low, registers.cycles_high).eq(counters.cycles),
        ]

    def _trace(self, m: Module, queues) -> None:
        """Outputs of a traced tile for each engine and its queue."""
        for engine, queue in queues.items():
            port = getattr(self, engine.name.lower())
            trace = getattr(self, f"trace_{engine.name.lower()}")
            # An engine begins an instruction when it takes it, or later than that.
            last_pc = Signal(PC_BITS, name=f"{engine.name.lower()}_last_pc")
            takes = port.instr.valid & port.instr.ready
            with m.If(takes):
                m.d.sync += last_pc.eq(port.instr.payload.pc)
            m.d.comb += [
                *(trace[name].eq(port.trace[name]) for name in port.trace.shape().members),
                *(trace[name].eq(getattr(port, name)) for name in ("busy", "stall", "idle")),
                *(trace[name].eq(getattr(queue, name)) for name in ("empty", "waiting")),
                trace.full.eq(queue.dispatch.valid & ~queue.dispatch.ready),
                trace.pc.eq(Mux(takes, port.instr.payload.pc, last_pc)),
            ]
            with m.If(port.idle & queue.waiting):
                m.d.comb += trace.pc.eq(queue.head_tag)

    def _check_program(self, m: Module, registers):
        """Checks of the program's address and size.

        Registered twice: registers last change two cycles before the start bit is output.
        """
        width, bits = self._config.axi_addr_width, MEMORY_ADDRESS_BITS
        program = Cat(registers.program_low, registers.program_high)
        base = Cat(registers.window_base_low, registers.window_base_high)
        last = Cat(registers.window_last_low, registers.window_last_high)
        size = registers.program_bytes
        program_last, beyond = Signal(bits + 1), Signal()
        nothing = base[bits:].any()
        illegal, outside = Signal(), Signal()
        m.d.sync += [
            self.window.base.eq(Mux(nothing, (1 << bits) - 1, base[:bits])),
            self.window.last.eq(Mux(nothing, 0, Mux(last[width:].any(), (1 << width) - 1, last))),
            program_last.eq(program[:bits] + size - 1),
            beyond.eq(program[bits:].any()),
            outside.eq(
                (program[:bits] < self.window.base) | (program_last > self.window.last) | beyond
            ),
            illegal.eq(
                (program % _PROGRAM_ALIGNMENT != 0)
                | (size % GRANULE_BYTES != 0)
                | (size == 0)
                | (size > (1 << PC_BITS) * GRANULE_BYTES)
            ),
        ]
        return illegal, outside

    def _trap(self, m, record, registers, decoder, progress, semaphores, illegal, outside) -> None:
        """Everything that may trap, in falling priority; all but an overflow through a register."""
        m.submodules.ordinals = ordinals = Ordinals()
        control = Signal(source_layout(), name="own_trap")
        aborted = (registers.control & CONTROL_ABORT).any()
        m.d.sync += control.eq(0)

        def trap(engine, cause, pc=0, address=0, sequence=0):
            values = {"valid": 1, "engine": engine, "cause": cause, "pc": pc, "address": address}
            values["sequence"] = sequence
            return [control[name].eq(value) for name, value in values.items()]

        with m.If(self.start & illegal):
            m.d.sync += trap(Engine.CONTROL, Trap.ILLEGAL_FIELD)
        with m.Elif(self.start & outside):
            program = Cat(registers.program_low, registers.program_high)
            m.d.sync += trap(Engine.CONTROL, Trap.MEMORY_WINDOW, address=program)
        with m.Elif(aborted):
            m.d.sync += trap(Engine.CONTROL, Trap.ABORTED)
        with m.Elif(decoder.fault & progress.quiet):
            m.d.sync += trap(
                Engine.CONTROL, decoder.fault_cause, decoder.fault_pc, decoder.fault_address
            )
        with m.Elif(progress.deadlock):
            m.d.sync += trap(
                progress.deadlock_engine,
                Trap.DEADLOCK,
                progress.deadlock_tag[:PC_BITS],
                progress.deadlock_sem,
                progress.deadlock_tag[PC_BITS:],
            )

        own, overflow, *engines = record.sources
        m.d.comb += [
            own.eq(control),
            overflow.valid.eq(semaphores.overflow),
            overflow.engine.eq(semaphores.overflow_engine),
            overflow.cause.eq(Trap.SEMAPHORE_OVERFLOW),
            overflow.address.eq(semaphores.overflow_sem),
        ]
        for source, engine in zip(engines, ENGINES, strict=True):
            port = getattr(self, engine.name.lower())
            valid, trap = Signal(), Signal(port.trap.shape(), reset_less=True)
            m.d.sync += [valid.eq(port.trap_valid), trap.eq(port.trap)]
            m.d.comb += [
                source.valid.eq(valid),
                source.engine.eq(engine),
                source.pc.eq(trap.pc[:PC_BITS]),
                source.sequence.eq(trap.pc[PC_BITS:]),
                *(source[name].eq(trap[name]) for name in ("cause", "address")),
            ]
        m.d.comb += [
            registers.trap_cause.eq(record.cause),
            registers.trap_engine.eq(record.engine),
            registers.trap_pc.eq(record.pc_bytes),
            Cat(registers.trap_addr_low, registers.trap_addr_high).eq(record.address),
            registers.trap_ordinal.eq(ordinals.ordinal),
            *(getattr(ordinals, name).eq(getattr(record, name)) for name in ("taken", "sequence")),
            *(getattr(ordinals, name).eq(getattr(record, name)) for name in ("cause", "engine")),
            ordinals.clear.eq(self.start),
            ordinals.dispatched[Engine.CONTROL].eq(decoder.control.valid & decoder.control.ready),
        ]
        for engine in ENGINES:
            port = getattr(decoder, engine.name.lower())
            m.d.comb += ordinals.dispatched[engine].eq(port.valid & port.ready)
