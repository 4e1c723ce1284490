"""A step of SimCLR in PyTorch on a GPU, as `sempair bench step` performs it, for `gpu.sh`: prints one line of JSON with the
images per second of each way to run it. Usage: gpu_torch.py MODEL PAIRS"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

MODEL, PAIRS, IMAGE, STEPS = sys.argv[1], int(sys.argv[2]), 64, 20


class Block(nn.Module):
    """A transformer's block in timm's order, with fused attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """ViT-S/8: patches of 8x8, width 384, 12 blocks of 6 heads."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 384, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 384))
        self.positions = nn.Parameter(torch.zeros(1, (IMAGE // 8) ** 2 + 1, 384))
        self.blocks = nn.Sequential(*[Block(384, 6) for _ in range(12)])
        self.norm = nn.LayerNorm(384, eps=1e-6)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.norm(self.blocks(x))[:, 0]


def encoder():
    if MODEL == "vit-s8":
        return Transformer(), 384
    import torchvision

    net = torchvision.models.resnet50() if MODEL == "resnet50" else torchvision.models.resnet18()
    width, net.fc = net.fc.in_features, nn.Identity()
    if MODEL == "resnet18-cifar":
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net, width


def nt_xent(z):
    z = F.normalize(z.float(), dim=1)
    s = z @ z.t() / 0.5
    s.fill_diagonal_(float("-inf"))
    return F.cross_entropy(s, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def images_per_second(compiled):
    net, width = encoder()
    net = nn.Sequential(net, nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, 128))
    net = net.cuda().to(memory_format=torch.channels_last)
    run = torch.compile(net, mode="max-autotune-no-cudagraphs") if compiled else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4, fused=True)
    host = torch.randn(2 * PAIRS, 3, IMAGE, IMAGE).to(memory_format=torch.channels_last).pin_memory()

    def step():
        optimizer.zero_grad(set_to_none=True)
        x = host.cuda(non_blocking=True)
        with torch.autocast("cuda", torch.bfloat16):
            z = run(x)
        nt_xent(z).backward()
        optimizer.step()

    times = []
    for index in range(STEPS + 5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * PAIRS / sorted(times[5:])[STEPS // 2]


torch.backends.cudnn.benchmark = True
result = {"model": MODEL, "pairs": PAIRS, "torch": torch.__version__, "gpu": torch.cuda.get_device_name()}
for name, compiled in [("eager", False), ("compiled", True)]:
    try:
        result[name] = images_per_second(compiled)
    except Exception as error:  # such as a compiler that is not there: the other way is still measured
        result[name] = None
        result[f"{name}_error"] = str(error)[:200]
result["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
print(json.dumps(result))
