"""`models.scratch.scratch_unet` in PyTorch, for `benchmarks.steps` to be measured beside. Imports torch, an extra.

As a command it trains an epoch of noise for every line that it reads, channels last and in bfloat16 by autocast where
that is faster than float32, and answers with a line; it ends with its input.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

FORMATS = {True: "bfloat16", False: "float32"}

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU}


class TorchUNet(nn.Module):
    """Images float (n, c, h, w) in, logits (n, 1, h, w) out; options as `scratch_unet` has them, those that the cases
    of `benchmarks.steps` use."""

    def __init__(
        self,
        channels: int,
        filters: int = 64,
        depth: int = 4,
        kernel_size: int = 3,
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        super().__init__()

        def level(taken: int, index: int) -> nn.Sequential:
            given = filters * 2**index
            rate = dropout * (1.0 if index == depth else (1 + min(1, index * 2 // depth)) / 3)
            return nn.Sequential(
                nn.Conv2d(taken, given, kernel_size, padding="same"),
                ACTIVATIONS[activation](),
                *([nn.Dropout(rate)] if rate else []),
                nn.Conv2d(given, given, kernel_size, padding="same"),
                ACTIVATIONS[activation](),
            )

        widths = [channels, *(filters * 2**index for index in range(depth))]
        self.down = nn.ModuleList(level(widths[index], index) for index in range(depth + 1))
        rising = range(depth - 1, -1, -1)
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(filters * 2 ** (index + 1), filters * 2**index, 2, stride=2) for index in rising
        )
        self.up = nn.ModuleList(level(filters * 2 ** (index + 1), index) for index in rising)
        self.last = nn.Conv2d(filters, 1, 1)

    def forward(self, x: Any) -> Any:
        skips = []
        for level in self.down[:-1]:
            x = level(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.down[-1](x)
        for rise, level in zip(self.rise, self.up, strict=True):
            x = level(torch.cat([skips.pop(), rise(x)], dim=1))
        return self.last(x)


def main(told: dict[str, Any]) -> None:
    """Trains an epoch a line."""
    noise, device = torch.Generator().manual_seed(0), "cuda" if torch.cuda.is_available() else "cpu"
    count, side = told["steps"] * told["batch"], told["side"]
    images = torch.rand((count, told["channels"], side, side), generator=noise)
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    masks = torch.randint(0, 2, (count, 1, side, side), generator=noise).float().to(device)
    model = TorchUNet(told["channels"], **told["model"]).to(device, memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), lr=told["rate"])

    def step(rows: Any, half: bool) -> None:
        adam.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            found = model(images[rows])
        torch.nn.functional.binary_cross_entropy_with_logits(found.float(), masks[rows]).backward()
        adam.step()
        if device == "cuda":
            torch.cuda.synchronize()

    half = faster_in_half(lambda half: step(torch.arange(told["batch"]), half))
    for _ in sys.stdin:
        for rows in torch.randperm(count).split(told["batch"]):
            step(rows, half)
        print("done", flush=True)


def faster_in_half(step: Callable[[bool], None]) -> bool:
    """Whether a step is faster in bfloat16 than in float32, as `precision=auto` asks of ours."""
    seconds = {}
    for half in (True, False):
        step(half)
        began = time.perf_counter()
        for _ in range(2):
            step(half)
        seconds[half] = (time.perf_counter() - began) / 2
    words = " and ".join(f"{1000 * seconds[half]:.0f} ms in {FORMATS[half]}" for half in (True, False))
    best = min(seconds, key=seconds.__getitem__)
    print(f"PyTorch: a step takes {words}, so it trains in {FORMATS[best]}", file=sys.stderr, flush=True)
    return best


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
