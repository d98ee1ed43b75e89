"""Two epochs of training on the digits, on the golden tile, and the loss as a printed curve."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tegula_sw import TrainingSettings, open_device, train

settings = TrainingSettings(format="fp8", hidden=16, batch=64, epochs=2, seed=1)
with TemporaryDirectory() as folder:
    record = train(open_device("golden", "tiny"), settings, Path(folder))
    files = sorted(path.name for path in Path(folder).iterdir())

print(f"fp8, {len(record.losses)} steps of {settings.batch} samples; mean loss of four steps each:")
for number, loss in enumerate(np.array(record.losses, float).reshape(-1, 4).mean(axis=1)):
    print(f"{4 * number + 1:>4} {loss:.3f} {'#' * round(24 * loss)}")
for epoch in record.epochs:
    print(f"epoch {epoch.epoch}: {epoch.accuracy:.1%} of the test samples are right")
print("a run leaves", ", ".join(files))
