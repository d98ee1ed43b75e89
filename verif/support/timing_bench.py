"""Programs that ran on the RTL, beside what the model of time says of them."""

from dataclasses import dataclass

from tegula_golden.tile.job import Job
from tegula_sw.devices.base import Device, RunResult
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.program.timing.model import Prediction, predict

__all__ = ["Timed", "TimedDevice"]


@dataclass(frozen=True)
class Timed:
    """A program's cycles and beats on the RTL, and the prediction."""

    measured: RunResult
    predicted: Prediction

    @property
    def error(self) -> float:
        """Predicted cycles more than measured, as a share of these."""
        return self.predicted.cycles / self.measured.cycles - 1

    def check(self, tolerance: float) -> None:
        """Check the cycles within `tolerance`, and the beats."""
        assert abs(self.error) <= tolerance, (self.measured.cycles, self.predicted.cycles)
        measured = self.measured.read_beats, self.measured.write_beats
        assert measured == (self.predicted.read_beats, self.predicted.write_beats)


class TimedDevice(Device):
    """The RTL, whose programs are also predicted.

    Attributes
    ----------
    runs
        The programs so far.
    """

    def __init__(self, config, mem_latency: int):
        self.config = config
        self._mem_latency = mem_latency
        self._device = RtlDevice(config, mem_latency=mem_latency, max_cycles=2_000_000)
        self.runs: list[Timed] = []

    def close(self) -> None:
        """Free the tile."""
        self._device.close()

    def _execute(self, job: Job) -> RunResult:
        result = self._device._execute(job)
        code = job.memory[job.program - job.base :][: job.program_bytes].tobytes()
        predicted = predict(self.config, code, address=job.program, mem_latency=self._mem_latency)
        self.runs.append(Timed(result, predicted))
        return result
