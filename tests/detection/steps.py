"""Five training steps of a detector in PyTorch, as `steps.rs` next to this file runs them in sempair: same weights, images
and drawn samples. Prints the four losses of each step: objectness, anchors, classes, regions.

    cargo test --release --test sempair -- --ignored write_the_steps_for_pytorch
    pip install torch torchvision blake3
    python tests/detection/steps.py target/tmp/detection-small [float64|float32]
"""
import json
import sys
import time

import blake3
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import box_iou, clip_boxes_to_image, nms, roi_align

FOLDER, DTYPE = sys.argv[1], getattr(torch, sys.argv[2] if len(sys.argv) > 2 else "float64")
RUN = json.load(open(f"{FOLDER}/run.json"))
PROTOCOL, RECIPE = RUN["training"]["protocol"], RUN["training"]["recipe"]
MASK = (1 << 32) - 1


def philox(counter, key):
    """Philox4x32 with ten rounds."""
    for _ in range(10):
        a, b = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & MASK, (a >> 32) ^ counter[3] ^ key[1], a & MASK]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return counter


def derive(key, counter):
    return philox(counter, key)[:2]


def split(key, name):
    return derive(key, np.frombuffer(blake3.blake3(name.encode()).digest()[:16], "<u4").tolist())


def at(key, index):
    return derive(key, [index & MASK, index >> 32, 0, 1])


def words(key):
    block = 0
    while True:
        yield from philox([block & MASK, block >> 32, 0, 2], key)
        block += 1


def below(stream, n):
    """Uniform in 0..n: Lemire's multiplication with rejection."""
    while True:
        wide = (next(stream) | next(stream) << 32) * n
        if wide & ((1 << 64) - 1) >= (1 << 64) % n:
            return wide >> 64


def draw(items, count, key):
    items, stream, count = list(items), words(key), min(count, len(items))
    for i in range(count):
        chosen = i + below(stream, len(items) - i)
        items[i], items[chosen] = items[chosen], items[i]
    return items[:count]


def sample(labels, count, share, key):
    """Numbers of positive and of negative boxes; labels are 1, 0, and -1 for boxes that are ignored."""
    positives = draw(np.flatnonzero(labels == 1).tolist(), int(count * share), split(key, "positives"))
    negatives = draw(np.flatnonzero(labels == 0).tolist(), count - len(positives), split(key, "negatives"))
    return positives, negatives


def weights():
    """Values by name; kernels (O, K, K, I) as PyTorch's (O, I, K, K)."""
    data = open(f"{FOLDER}/detector.safetensors", "rb").read()
    length = int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            value = np.frombuffer(data, "<f4", (end - first) // 4, 8 + length + first).reshape(entry["shape"])
            value = value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
            found[name] = torch.tensor(np.ascontiguousarray(value), dtype=DTYPE)
    return found


W = weights()
LEARNS = {name for name in W if "running" not in name}
LAST_STAGE = max(name.split(".")[0] for name in W if name.startswith("layer"))
for name in LEARNS:
    W[name].requires_grad_()


def norm(x, name):
    return F.batch_norm(x, None, None, W[f"{name}.weight"], W[f"{name}.bias"], training=True, eps=1e-5)


def conv(x, name, stride=1):
    w = W[f"{name}.weight"]
    return F.conv2d(x, w, W.get(f"{name}.bias"), stride, w.shape[2] // 2)


def stage(x, name, stride):
    """The blocks of a stage: basic ones, or bottlenecks with the stride in the 3x3 convolution."""
    block = 0
    while f"{name}.{block}.conv1.weight" in W:
        at, step = f"{name}.{block}", stride if block == 0 else 1
        deep = f"{at}.conv3.weight" in W
        y = norm(conv(x, f"{at}.conv1", 1 if deep else step), f"{at}.bn1").relu()
        y = norm(conv(y, f"{at}.conv2", step if deep else 1), f"{at}.bn2")
        if deep:
            y = norm(conv(y.relu(), f"{at}.conv3"), f"{at}.bn3")
        if f"{at}.downsample.0.weight" in W:
            x = norm(conv(x, f"{at}.downsample.0", step), f"{at}.downsample.1")
        x, block = (x + y).relu(), block + 1
    return x


def trunk(x):
    x = norm(conv(x, "conv1", 1 if RUN["training"]["model"]["stem"] == "small" else 2), "bn1").relu()
    if RUN["training"]["model"]["stem"] == "imagenet":
        x = F.max_pool2d(x, 3, 2, 1)
    for name, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2)):
        x = stage(x, name, stride) if name != LAST_STAGE else x
    return x


def anchors(height, width):
    """(H W A, 4), in f32."""
    shapes = []
    for size in PROTOCOL["anchor_sizes"]:
        for ratio in PROTOCOL["anchor_ratios"]:
            w, h = size / ratio**0.5 / 2, size * ratio**0.5 / 2
            shapes.append([-w, -h, w, h])
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    at = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4) * RUN["stride"]
    return (at + torch.tensor(shapes, dtype=torch.float32)).reshape(-1, 4)


def centre(box):
    x1, y1, x2, y2 = box.double().unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def encode(source, target, factors):
    (x, y, w, h), (tx, ty, tw, th) = centre(source), centre(target)
    deltas = torch.stack([(tx - x) / w, (ty - y) / h, (tw / w).log(), (th / h).log()], -1)
    return (deltas * torch.tensor(factors, dtype=torch.float64)).to(DTYPE)


def decode(source, deltas):
    x, y, w, h = centre(source)
    dx, dy, dw, dh = deltas.double().unbind(-1)
    limit = float(np.log(1000 / 16))
    x, y, w, h = x + dx * w, y + dy * h, w * dw.clamp(max=limit).exp(), h * dh.clamp(max=limit).exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1).float()


def labels(boxes, objects, low, high, best):
    """1, 0 or -1 for each box, and its object."""
    iou = box_iou(objects, boxes)
    value, of = iou.max(0)
    label = torch.full((len(boxes),), -1)
    label[value < low] = 0
    label[value >= high] = 1
    if best:
        highest = iou.max(1, keepdim=True).values
        label[((iou == highest) & (highest > 0)).any(0)] = 1
    return label.numpy(), of.numpy()


def proposals(all_anchors, logits, deltas, size):
    scores, order = logits.sort(descending=True, stable=True)
    order = order[: PROTOCOL["candidates"][0]]
    boxes = clip_boxes_to_image(decode(all_anchors[order], deltas[order]), size)
    there = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores = boxes[there], scores[: len(order)][there]
    return boxes[nms(boxes, scores.float(), 0.7)[: PROTOCOL["proposals"][0]]]


def losses(batch, key):
    shape = (len(batch["images"]), batch["height"], batch["width"], 3)
    images = torch.tensor(np.fromfile(f"{FOLDER}/{batch['file']}", "<f4").reshape(shape), dtype=DTYPE)
    count = shape[0]
    objects = [torch.tensor([o["edges"] for o in image["objects"]], dtype=torch.float32).reshape(-1, 4) for image in batch["images"]]
    classes = [[o["category"] for o in image["objects"]] for image in batch["images"]]
    maps = trunk(images.permute(0, 3, 1, 2))
    hidden = conv(maps, "detector.conv1").relu()
    first = hidden.permute(0, 2, 3, 1)
    logits = F.linear(first, W["detector.objectness.weight"], W["detector.objectness.bias"]).reshape(count, -1)
    deltas = F.linear(first, W["detector.offsets.weight"], W["detector.offsets.bias"]).reshape(count, -1, 4)
    all_anchors = anchors(*maps.shape[2:])
    divisor = PROTOCOL["anchors_sampled"] * count
    of_anchors = [torch.zeros((), dtype=DTYPE), torch.zeros((), dtype=DTYPE)]
    regions, kinds, targets = [], [], []
    for i in range(count):
        label, of = labels(all_anchors, objects[i], 0.3, 0.7, True)
        positive, negative = sample(label, PROTOCOL["anchors_sampled"], 0.5, at(split(key, "anchors"), i))
        chosen, expected = logits[i, positive + negative], torch.zeros(len(positive + negative), dtype=DTYPE)
        expected[: len(positive)] = 1
        of_anchors[0] = of_anchors[0] + F.binary_cross_entropy_with_logits(chosen, expected, reduction="sum")
        to = encode(all_anchors[positive], objects[i][of[positive]], [1, 1, 1, 1])
        of_anchors[1] = of_anchors[1] + (deltas[i, positive] - to).abs().sum()
        with torch.no_grad():
            boxes = torch.cat([proposals(all_anchors, logits[i], deltas[i], batch["images"][i]["size"]), objects[i]])
        label, of = labels(boxes, objects[i], 0.5, 0.5, False)
        positive, negative = sample(label, PROTOCOL["regions_sampled"], 0.25, at(split(key, "regions"), i))
        regions.append(boxes[positive + negative])
        kinds += [classes[i][of[p]] for p in positive] + [RUN["categories"]] * len(negative)
        to = encode(boxes[positive], objects[i][of[positive]], [10, 10, 5, 5])
        targets.append(torch.cat([to, torch.zeros(len(negative), 4, dtype=DTYPE)]))
    side = PROTOCOL["region_side"]
    of_regions = roi_align(maps, [r.to(DTYPE) for r in regions], side, 1 / RUN["stride"], 0, True)
    pooled = norm(stage(of_regions, LAST_STAGE, 2), "detector.bn1").mean((2, 3))
    scores = F.linear(pooled, W["detector.categories.weight"], W["detector.categories.bias"])
    moved = F.linear(pooled, W["detector.boxes.weight"], W["detector.boxes.bias"]).reshape(len(kinds), -1, 4)
    kinds = torch.tensor(kinds)
    there = (kinds < RUN["categories"]).nonzero()[:, 0]
    of_boxes = (moved[there, kinds[there]] - torch.cat(targets)[there]).abs().sum() / len(kinds)
    return of_anchors[0] / divisor, of_anchors[1] / divisor, F.cross_entropy(scores, kinds), of_boxes


def rate(step):
    progress = step / RECIPE["warmup"] if step < RECIPE["warmup"] else 1.0
    return RECIPE["learning_rate"] * (RECIPE["warmup_from"] * (1 - progress) + progress)


norms = {name for name in LEARNS if name.split(".")[-2].startswith("bn") or ".downsample.1." in name}
decayed, plain = [W[name] for name in sorted(LEARNS - norms)], [W[name] for name in sorted(norms)]
groups = [{"params": decayed, "weight_decay": RECIPE["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
optimizer = torch.optim.SGD(groups, lr=1.0, momentum=RECIPE["momentum"])
root = split(split([RUN["training"]["seed"], 0], "sempair"), "detector")
for step, batch in enumerate(RUN["batches"]):
    start = time.time()
    for group in optimizer.param_groups:
        group["lr"] = rate(step)
    four = losses(batch, at(split(root, "samples"), step))
    optimizer.zero_grad()
    sum(four).backward()
    optimizer.step()
    print("[" + ", ".join(f"{loss.item():.7f}" for loss in four) + "],", f"# {time.time() - start:.1f} s", flush=True)
