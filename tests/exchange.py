"""Reference features for tests/exchange.rs: torchvision's ResNets and timm's ViT with weights computed by a formula
from their names. Needs PyTorch, torchvision and timm; run by hand: `python tests/exchange.py`.

With a folder written by `sempair export` as argument, loads its weights into the model of torchvision or timm and
prints features of the same image. Loading fails unless every name and shape fits (the export has no classifier):
`python tests/exchange.py FOLDER`.
"""
import json
import sys

import torch


def model(name, image):
    if name.startswith("resnet"):
        import torchvision

        net = getattr(torchvision.models, name)(weights=None)
        net.fc = torch.nn.Identity()
        return net
    import timm

    return timm.create_model("vit_small_patch8_224", img_size=image, num_classes=0)


def fill(net):
    for name, value in net.state_dict().items():
        if "num_batches" in name:
            continue
        i = torch.arange(value.numel(), dtype=torch.float64)
        wave = torch.sin(0.7 * i * i + sum(name.encode())).reshape(value.shape)
        if value.dim() > 1 and "token" not in name and "pos_embed" not in name:
            wave = wave * (2 * 2 / value[0].numel()) ** 0.5  # He's deviation, for a wave with deviation sqrt(1/2)
        else:
            wave = 0.2 * wave
        is_scale = ("norm" in name or "bn" in name or "downsample.1" in name) and name.endswith("weight")
        value.copy_(wave + (1 if is_scale or "running_var" in name else 0))


def image(side):
    return torch.sin(0.3 * torch.arange(3 * side * side, dtype=torch.float64)).reshape(1, side, side, 3).permute(0, 3, 1, 2)


def reference():
    for name in ["resnet18", "resnet50", "vit-s8"]:
        net = model(name, 64).double().eval()
        with torch.no_grad():
            fill(net)
            features = net(image(64))[0]
        step = len(features) // 8
        print(name, f"norm {features.norm():.9g}", [float(f"{x:.7g}") for x in features[::step]])


def exported(folder):
    from safetensors.torch import load_file

    card = json.load(open(f"{folder}/card.json"))
    weights = load_file(f"{folder}/{card['weights']}")
    side = card["input"]["size"]
    net = model(card["pretraining"]["model"]["encoder"], side).eval()
    missing, unexpected = net.load_state_dict(weights, strict=False)
    missing = [name for name in missing if "num_batches" not in name]
    assert not missing and not unexpected, (missing, unexpected)
    with torch.no_grad():
        return net(image(side).float())[0]


if len(sys.argv) == 1:
    reference()
else:
    print(exported(sys.argv[1])[::16].tolist())
