"""What is compared on a GPU: works, modes and programs, the same graphics card for both sides.

nnoptc is `--device NAME` through Vulkan, Metal or Direct3D; PyTorch is CUDA. A mode with `amp` is torch.autocast to f16
with a GradScaler, beside nnoptc's `precision = mixed`; without it both compute in f32, and PyTorch's TF32, which rounds
factors to 10 bits, is off unless the mode says `tf32`.
"""

import subprocess

PRODUCTS = (1024, 2048, 4096, 8192)
WORKS = "W1,W2,W4,W5,W8"
TRAIN_MODES = [
    "eager+fused",
    "compiled+fused",
    "compiled+graphs+fused",
    "compiled+graphs+fused+tf32",
    "eager+fused+amp",
    "compiled+fused+amp",
    "compiled+graphs+fused+amp",
]
IMAGE_MODES = [*TRAIN_MODES, "compiled+graphs+fused+amp+channels_last"]
PRODUCT_MODES = ["f32", "tf32", "f16"]


def works_of(names):
    """The works that are named, W5 with each of its sizes; a name that cannot be run on a GPU is an error."""
    known = WORKS.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"{name} is not compared on a GPU, expected some of {WORKS}")
        yield from [f"W5 {size}" for size in PRODUCTS] if name == "W5" else [name]


def peers(work, python, folder):
    """Name, program and modes of each peer of a work."""
    if work.startswith("W5"):
        return [("torch", [python, folder / "peers/torch_product.py"], PRODUCT_MODES)]
    modes = IMAGE_MODES if work in ("W2", "W8") else TRAIN_MODES
    return [("torch", [python, folder / "peers/torch_train.py"], modes)]


def precision(mode):
    """nnoptc's setting beside a mode of PyTorch."""
    return "mixed" if "amp" in mode.split("+") else "f32"


def operands(mode):
    """The type of nnoptc's operands beside a mode of PyTorch's product."""
    return "f16" if mode == "f16" else "f32"


def machine(run=subprocess.run):
    """Name and driver of the graphics card, as nvidia-smi says them."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        lines = run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()
    except (OSError, subprocess.CalledProcessError):
        return "a graphics card that nvidia-smi does not name"
    name, driver = (part.strip() for part in lines[0].split(","))
    return f"{name}, driver {driver}"
