"""Parts of an optimizer."""

from __future__ import annotations

from typing import Any


def innermost(optimizer: Any) -> Any:
    """The optimizer itself, where another one scales its loss."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def excludes_from_weight_decay(optimizer: Any) -> bool:
    named = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
    return any(getattr(each, name, None) for each in parts(optimizer) for name in named)


def parts(optimizer: Any) -> list[Any]:
    """The optimizer itself, or those that share the variables of a `MultiOptimizer`."""
    return list(getattr(innermost(optimizer), "optimizers", [innermost(optimizer)]))


def keeps_averages(optimizer: Any) -> bool:
    """Tells whether an optimizer has averages of the weights, which become the weights when training ends."""
    return any(getattr(each, "use_ema", False) for each in parts(optimizer))


def accumulates_gradients(optimizer: Any) -> bool:
    """Tells whether an optimizer adds up the gradients of several minibatches before it steps."""
    return any(getattr(each, "gradient_accumulation_steps", None) for each in parts(optimizer))
