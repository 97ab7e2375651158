"""Which device and which number format the encoder runs in."""

import torch

from ulfine_cache.errors import UlfineError, UsageError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str) -> torch.device:
    """Return the device to run on.

    Args:
        device: "auto" (CUDA, else Apple's MPS, else the CPU), or "cpu", "cuda", "cuda:1", "mps".

    Raises:
        UsageError: There is no such kind of device.
        UlfineError: The device is not on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UsageError(f"no device {device!r}: use auto, cpu, cuda, cuda:1 or mps")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"no device {device!r}: use auto, cpu, cuda, cuda:1 or mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[kind]
    if not there or (kind == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        raise UlfineError(f"device {device} is not available to torch on this machine: use --device auto or cpu")
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """Return "fp32", "bf16" or "fp16".

    Args:
        precision: One of these, or "auto": bf16 where the hardware multiplies it (CPUs with AVX512-BF16 or AMX, GPUs
            since compute capability 8), fp16 on older GPUs, else fp32.
        device: Where the encoder runs.

    Raises:
        UsageError: There is no such precision.
    """
    if precision != "auto":
        if precision not in DTYPES:
            raise UsageError(f"no precision {precision!r}: use auto, fp32, bf16 or fp16")
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    if device.type == "cpu" and _cpu_multiplies_bf16():
        return "bf16"
    return "fp32"


def _cpu_multiplies_bf16() -> bool:
    # Private to torch, so their absence must not matter; other checks say yes where bf16 is only emulated.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in checks)
