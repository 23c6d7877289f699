"""How a model is trained, and what is held out of its training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from residiff.recipe.base import Settings


class Optimiser(Settings):
    """What moves the weights.

    Parameters
    ----------
    kind : its name
    betas : decay of its averages of the gradient and of its square (SGD: the first is its momentum)
    amsgrad : divide by the largest average of squares so far
    per_head : each of two U-Nets has its own, and its gradient is clipped alone
    """

    kind: Literal["adamw", "adam", "radam", "sgd"] = "adamw"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    amsgrad: bool = False
    per_head: bool = False


class Plateau(Settings):
    """A learning rate that falls where the loss does not; the defaults are Resfusion's.

    Parameters
    ----------
    factor : what the learning rate is multiplied by
    patience : when: after so many epochs in which the loss has got no better
    cooldown : epochs for which it is left alone after that
    """

    factor: float = Field(default=0.8, gt=0, lt=1)
    patience: int = Field(default=20, ge=0, le=1_000_000)
    cooldown: int = Field(default=20, ge=0, le=1_000_000)


class Distil(Settings):
    """What a student learns from, where a model is trained to do in few steps what another does in many.

    Parameters
    ----------
    teacher : SHA-256 of the other's file
    steps : that the teacher takes
    truth : share of the loss that is to the true picture, the rest being to the teacher's result
    """

    teacher: str = Field(pattern=r"^[0-9a-f]{64}$")
    steps: int = Field(ge=1, le=100_000)
    truth: float = Field(default=0.5, ge=0, le=1)


class Training(Settings):
    """How it is trained.

    Parameters
    ----------
    iterations : updates of the weights
    batch : pairs that are computed at once
    accumulate : an update is of so many times `batch` pairs, however many processes share it
    learning_rate : at its highest, after the warm-up
    final_learning_rate : where the half cosine ends
    reference_batch : where it is given, the learning rate is meant for an update of so many pairs and scaled to this
        one's
    decay : the learning rate falls along a half cosine, stays ("constant"), or falls where the loss does not
        ("plateau")
    epoch : updates of an epoch, after each of which the learning rate falls; 0: at every update
    plateau : how the learning rate falls with `decay` "plateau"
    warm_up : updates in which the learning rate rises from nothing
    weight_decay : pull of the weights towards zero
    optimiser : what moves the weights
    clip : longest gradient; a longer one is shortened to it
    loss : what is made of the error of a prediction
    posterior_weight : of RDDM's optional loss of the one-step posterior's mean
    ema : decay of the running average of the weights, which is what a model file holds
    ema_every : the average follows once in so many updates
    ema_rise : how its decay rises to `ema`: as (1 + k) / (10 + k) at update k ("early"), as RDDM's does ("rddm": the
        weights themselves for 100 updates, then 1 - k^(-2/3)), or not at all ("constant")
    start_share : share of the times that are the start's, where all must be inferred; the rest are even
    averages : decays of more running averages, one each
    precision : of the arithmetic; the weights stay float32
    channels_last : lay the images out pixel by pixel
    compiled : use torch.compile
    checkpointed : compute activations twice to hold fewer
    sharded : spread weights and optimiser over the processes
    not_finite : where a loss or gradient is not finite, stop, or go on without that update ("skip")
    seed : of weights, pictures, times and noise
    save_seconds : seconds between the states that a run is continued from
    keep : how many of the last states are kept
    distil : what is learnt from another model in place of the data's noise (`residiff train --distill`)
    """

    iterations: int = Field(default=10_000, ge=1, le=100_000_000)
    batch: int = Field(default=8, ge=1, le=65_536)
    accumulate: int = Field(default=1, ge=1, le=65_536)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    final_learning_rate: float = Field(default=1e-6, ge=0, le=1)
    reference_batch: int = Field(default=0, ge=0, le=1_000_000)
    decay: Literal["cosine", "constant", "plateau"] = "cosine"
    epoch: int = Field(default=0, ge=0, le=100_000_000)
    plateau: Plateau = Plateau()
    warm_up: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    optimiser: Optimiser = Optimiser()
    clip: float = Field(default=1.0, gt=0)
    loss: Literal["l1", "l2", "smooth-l1"] = "l1"
    posterior_weight: float = Field(default=0.0, ge=0, le=1e9)
    ema: float = Field(default=0.999, ge=0, lt=1)
    ema_every: int = Field(default=1, ge=1, le=1_000_000)
    ema_rise: Literal["early", "rddm", "constant"] = "early"
    start_share: float = Field(default=0.0, ge=0, le=1)
    averages: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(default=(), max_length=8)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    compiled: bool = False
    checkpointed: bool = False
    sharded: bool = False
    not_finite: Literal["stop", "skip"] = "stop"
    seed: int = Field(default=10, ge=0, lt=2**63)
    save_seconds: float = Field(default=120.0, gt=0)
    keep: int = Field(default=3, ge=2, le=1000)
    distil: Distil | None = None


class Validation(Settings):
    """What is held out of training, to see how it goes and to choose the best weights by.

    The pairs held out are restored from the same noise each time.

    Parameters
    ----------
    on : "carved" holds pairs of the set out; "test" takes those of the set's own test split instead, which a figure of
        that split then owes something to, and the model file says so
    share : of the pairs, that is held out
    most : how many are held out at most
    every : updates from one validation to the next; 0: ten times in the run
    crop : side of the crops that are restored, in pixels; 0: as in training
    shown : of how many, the first, a strip of the steps is kept
    """

    on: Literal["carved", "test", "none"] = "carved"
    share: float = Field(default=0.05, gt=0, le=0.5)
    most: int = Field(default=16, ge=1, le=100_000)
    every: int = Field(default=0, ge=0, le=100_000_000)
    crop: int = Field(default=0, ge=0, le=4096)
    shown: int = Field(default=4, ge=0, le=64)
