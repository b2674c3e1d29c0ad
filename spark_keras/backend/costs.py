"""What kernels cost."""

from __future__ import annotations

from typing import NamedTuple


class KernelCost(NamedTuple):
    """What a kernel costs beside its arithmetic, and how fast that is.

    Args:
        call: milliseconds of a call, which has up to 64 minibatches.
        step: milliseconds of a minibatch, whatever its size.
        gigaflops: of one core, in a second.
        update: gigabytes of state that an optimizer updates in a second.
    """

    call: float
    step: float
    gigaflops: float
    update: float


# Fitted by hand to rounds of ten on one core (TensorFlow 2.21 with oneDNN, Keras 3.15, Adam): MLPs 100-128-64-10 with
# batch 32 and 784-1024-1024-10 with batches of 64 and 256, a LeNet with batch 64. "scan" has the speed of "xla", whose
# compiler it is; "jit" that of the LeNet, because it is for convolutions; "steps" is `Model.fit`, otherwise a "graph".
KERNEL_COSTS = {
    "xla": KernelCost(call=0.6, step=0.01, gigaflops=110, update=5.0),
    "graph": KernelCost(call=0.6, step=0.13, gigaflops=100, update=1.7),
    "scan": KernelCost(call=0.1, step=0.01, gigaflops=110, update=5.0),
    "jit": KernelCost(call=0.6, step=0.08, gigaflops=18, update=5.0),
    "steps": KernelCost(call=0.6, step=1.2, gigaflops=100, update=1.7),
}
