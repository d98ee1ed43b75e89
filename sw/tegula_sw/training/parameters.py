"""Settings of a training run, as the command line gives them."""

from dataclasses import dataclass
from numbers import Real

from tegula.formats import BF16, E4M3FN, E5M2, FP32, FloatFormat
from tegula_golden.arguments import check_integer
from tegula_sw.kernels.optimizers import AdamW, Momentum, Optimizer

__all__ = ["TrainingSettings"]

_LEARNING_RATES = {"sgd": 0.1, "adamw": 0.002}
_CHOICES = {
    "format": ("bf16", "fp8"),
    "optimizer": tuple(_LEARNING_RATES),
    "weights": ("fp32", "bf16"),
    "rounding": ("rne", "sr"),
    "activation": ("relu", "gelu"),
}
_SMALLEST_RATE = 2.0**-126
"""Below fp32's normal numbers a rate loses digits, and is zero at last."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A network of one hidden layer, and how it is trained.

    Attributes
    ----------
    format
        Of the operands of the products: "bf16", or "fp8" (E4M3FN forward, E5M2 gradients).
    optimizer
        "sgd" (momentum 0.9) or "adamw".
    weights
        "fp32", or "bf16" without a copy in fp32; biases and the optimizer's state are fp32.
    rounding
        Of bf16 weights: "rne", or "sr" (stochastic).
    activation
        "relu" or "gelu".
    hidden, batch, epochs
        Units of the hidden layer, samples of a step, passes over the data.
    lr
        Learning rate; None: the optimizer's default (sgd 0.1, adamw 0.002).
    history
        Steps whose largest magnitudes make a scale, in fp8.
    max_skips
        Skipped steps in a row that end a run.
    seed
        Of initial weights, order of the samples, and stochastic rounding; 0 to 2**32 - 1.

    Raises
    ------
    ValueError
        If a value is none of these or out of range.
    """

    format: str = "bf16"
    optimizer: str = "sgd"
    weights: str = "fp32"
    rounding: str = "rne"
    activation: str = "relu"
    hidden: int = 64
    batch: int = 32
    epochs: int = 20
    lr: float | None = None
    history: int = 16
    max_skips: int = 16
    seed: int = 1

    def __post_init__(self) -> None:
        """Check, and put the default learning rate in."""
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        for name, low, high in (
            ("hidden", 1, 4096),
            ("batch", 1, 512),
            ("epochs", 1, 100_000),
            ("history", 1, 1024),
            ("max_skips", 1, 1_000_000),
            ("seed", 0, (1 << 32) - 1),
        ):
            number = check_integer(name, getattr(self, name), low, high)
            object.__setattr__(self, name, number)
        if self.rounding == "sr" and self.weights != "bf16":
            raise ValueError("rounding sr needs weights bf16: fp32 weights are always rounded rne")
        rate = self._rate()
        if not isinstance(rate, Real) or isinstance(rate, bool):
            raise ValueError(f"lr must be a number, or None, not {rate!r}")
        if not 0 < rate < 2.0**60:
            raise ValueError(f"lr must be greater than 0 and less than 2**60, not {rate}")
        if rate < _SMALLEST_RATE:
            raise ValueError(f"lr must be at least 2**-126 (fp32's normal numbers), not {rate}")
        object.__setattr__(self, "lr", float(rate))

    def _rate(self) -> float:
        """The learning rate, which is the optimizer's default if none was given."""
        return _LEARNING_RATES[self.optimizer] if self.lr is None else self.lr

    @property
    def forward_format(self) -> FloatFormat:
        """Format of samples, weights and activations as operands."""
        return BF16 if self.format == "bf16" else E4M3FN

    @property
    def gradient_format(self) -> FloatFormat:
        """Format of gradients as operands."""
        return BF16 if self.format == "bf16" else E5M2

    @property
    def weight_format(self) -> FloatFormat:
        """Format of the weights themselves."""
        return FP32 if self.weights == "fp32" else BF16

    @property
    def weight_rounding(self) -> str:
        """Rounding of weights, as `KernelBuilder.compute` names it."""
        return "stochastic" if self.rounding == "sr" else "nearest"

    def make_optimizer(self) -> Optimizer:
        """The optimizer with its learning rate."""
        return (Momentum if self.optimizer == "sgd" else AdamW)(lr=self._rate())
