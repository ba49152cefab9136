"""Networks of the PyTorch family with random weights, in their own files.

For an environment of its own, with torch, torchvision, timm, transformers and
safetensors. `make_weight_fixtures.py` asks for small networks, and
`benchmarks/weight_parity.py` for the published ones (see `answer`).

A network gets random weights and random, but plausible, batch-norm
statistics: with arbitrary ones float32 itself is off by 1e-3.
"""

import dataclasses
import functools
import pathlib
import re
import sys

import numpy as np
import safetensors.torch
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.support import oracle_weights

MEAN = np.array([123.675, 116.28, 103.53], "f4")
STD = np.array([58.395, 57.12, 57.375], "f4")


class _ConvNorm(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, act):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.act = act

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class _SqueezeExcite(nn.Module):
    """The gate under pycls's names: f_ex.0 and f_ex.2."""

    def __init__(self, width, squeeze):
        super().__init__()
        self.f_ex = nn.Sequential(
            nn.Conv2d(width, squeeze, 1),
            nn.ReLU(),
            nn.Conv2d(squeeze, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.f_ex(x.mean((2, 3), keepdim=True))


class _PyclsTransform(nn.Module):
    def __init__(self, inputs, width, stride, group_width, se):
        super().__init__()
        groups = width // group_width
        self.a = nn.Conv2d(inputs, width, 1, bias=False)
        self.a_bn = nn.BatchNorm2d(width)
        self.b = nn.Conv2d(
            width, width, 3, stride, 1, groups=groups, bias=False
        )
        self.b_bn = nn.BatchNorm2d(width)
        self.se = _SqueezeExcite(width, round(inputs / 4)) if se else None
        self.c = nn.Conv2d(width, width, 1, bias=False)
        self.c_bn = nn.BatchNorm2d(width)

    def forward(self, x):
        x = torch.relu(self.a_bn(self.a(x)))
        x = torch.relu(self.b_bn(self.b(x)))
        if self.se is not None:
            x = self.se(x)
        return self.c_bn(self.c(x))


class _PyclsBlock(nn.Module):
    def __init__(self, inputs, width, stride, group_width, se):
        super().__init__()
        self.proj = self.bn = None
        if inputs != width or stride != 1:
            self.proj = nn.Conv2d(inputs, width, 1, stride, bias=False)
            self.bn = nn.BatchNorm2d(width)
        self.f = _PyclsTransform(inputs, width, stride, group_width, se)

    def forward(self, x):
        shortcut = x if self.proj is None else self.bn(self.proj(x))
        return torch.relu(shortcut + self.f(x))


class _PyclsHead(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


class _Pycls(nn.Module):
    """pycls's RegNet by its definition, with the names of its tensors."""

    def __init__(self, request):
        super().__init__()
        width = request["stem_width"]
        self.stem = _ConvNorm(3, width, 3, 2, nn.ReLU())
        self._stages = []
        stages = zip(
            request["depths"],
            request["widths"],
            request["group_widths"],
            strict=True,
        )
        for number, (depth, outputs, group_width) in enumerate(stages, 1):
            stage = nn.Sequential()
            for block in range(1, depth + 1):
                stride = 2 if block == 1 else 1
                module = _PyclsBlock(
                    width, outputs, stride, group_width, request["se"]
                )
                stage.add_module(f"b{block}", module)
                width = outputs
            self.add_module(f"s{number}", stage)
            self._stages.append(f"s{number}")
        self.head = _PyclsHead(width, request["classes"])

    def forward(self, x):
        x = self.stem(x)
        for name in self._stages:
            x = getattr(self, name)(x)
        return self.head(x)


def _timm(request):
    import timm

    if "arch" in request:
        return timm.create_model(request["arch"])
    from timm.models import regnet

    cfg = regnet.RegNetCfg(**request["timm"])
    if norm_layer := _norm_layer(request):
        cfg = dataclasses.replace(cfg, norm_layer=norm_layer)
    return regnet.RegNet(cfg, num_classes=request["classes"])


def _norm_layer(request):
    """Returns what timm's configurations take, None for batch norm."""
    from timm import layers

    kinds = {"group": layers.GroupNormAct, "evonorm_s0a": layers.EvoNorm2dS0a}
    kind = kinds.get(request.get("norm"))
    width = request.get("norm_group_width")
    return kind and functools.partial(kind, group_size=width)


def _byobnet(request):
    import timm

    if "arch" in request:
        return timm.create_model(request["arch"])
    from timm.models import byobnet

    # The last of timm's RegNetZ with fewer and narrower blocks.
    blocks = tuple(
        byobnet.ByoBlockCfg(
            type="bottle", d=depth, c=width, s=stride, gs=4, br=4
        )
        for depth, width, stride in request["byobnet"]
    )
    cfg = byobnet.model_cfgs["regnetz_d8"]
    cfg = type(cfg)(
        **{
            **vars(cfg),
            "blocks": blocks,
            "stem_chs": request["stem_width"],
            "num_features": request["head_width"],
            "stem_type": request["stem"],
        }
    )
    if norm_layer := _norm_layer(request):
        cfg = dataclasses.replace(cfg, norm_layer=norm_layer)
    return byobnet.ByobNet(cfg, num_classes=request["classes"])


def _torchvision(request):
    from torchvision.models import regnet

    parameters = regnet.BlockParams.from_init_params(
        se_ratio=0.25 if request["se"] else None, **request["torchvision"]
    )
    return regnet.RegNet(
        parameters,
        num_classes=request["classes"],
        stem_width=request["stem_width"],
        norm_layer=nn.BatchNorm2d,
    )


def _transformers(request):
    import transformers

    # It knows one group width, and takes what is wider as one group.
    config = transformers.RegNetConfig(
        embedding_size=request["stem_width"],
        hidden_sizes=list(request["widths"]),
        depths=list(request["depths"]),
        groups_width=max(request["group_widths"]),
        layer_type="y" if request["se"] else "x",
        num_labels=request["classes"],
    )
    return transformers.RegNetForImageClassification(config)


NETWORKS = {
    "timm": _timm,
    "byobnet": _byobnet,
    "torchvision": _torchvision,
    "transformers": _transformers,
    "pycls": _Pycls,
    # The networks of torchvision under other names, see `_KEYS`.
    "classy": _torchvision,
    "swag": _torchvision,
}

_STAGES = {
    "timm": r"s\d",
    "byobnet": r"stages\.\d",
    "torchvision": r"trunk_output\.block\d",
    "transformers": r"regnet\.encoder\.stages\.\d",
    "pycls": r"s\d",
}
_STAGES["classy"] = _STAGES["swag"] = _STAGES["torchvision"]

_NORMS = ("BatchNorm", "GroupNorm", "EvoNorm")
_LAST_NORM = re.compile(
    r".*(conv3\.bn|norm3|conv3_1x1\.bn|f\.c\.1|c_bn|layer\.[23]\.normalization)"
)


def _inner_classy(key):
    for theirs, ours in (
        ("f.se.fc1", "f.se.excitation.0"),
        ("f.se.fc2", "f.se.excitation.2"),
        ("f.c.0", "f.c"),
        ("f.c.1", "f.final_bn"),
        ("proj.0", "proj"),
        ("proj.1", "bn"),
    ):
        key = key.replace(f".{theirs}.", f".{ours}.")
    return key


def _classy_key(key):
    if key.startswith("fc."):
        return key.replace("fc.", "0.clf.0.")
    if key.startswith("stem."):
        return f"_feature_blocks.conv1.{key}"
    stage, rest = re.fullmatch(r"trunk_output\.block(\d)\.(.*)", key).groups()
    return f"_feature_blocks.res{int(stage) + 1}.{_inner_classy(rest)}"


def _swag_key(key):
    if key.startswith("fc."):
        return f"head.{key}"
    if key.startswith("stem."):
        return f"stem.{key}"
    return _inner_classy(key)


_KEYS = {"classy": _classy_key, "swag": _swag_key}


def normalised(images, family):
    """Returns RGB in 0..255 as the family's networks want it."""
    mean, std = (127.5, 127.5) if family == "byobnet" else (MEAN, STD)
    images = (images - np.float32(mean)) / np.float32(std)
    if family == "pycls":
        images = images[..., ::-1]
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@torch.no_grad()
def condition(model, images, seed):
    """Gives a network random weights, and statistics that suit the images."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.uniform_(low, high, generator=generator)

    norms = []
    for name, module in model.named_modules():
        if type(module).__name__.startswith(_NORMS):
            last = _LAST_NORM.fullmatch(name)
            uniform(module.weight, *((0.1, 0.4) if last else (0.5, 1.5)))
            module.bias.normal_(0, 0.1, generator=generator)
            if getattr(module, "v", None) is not None:
                uniform(module.v, 0.5, 2)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
                norms.append(module)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                uniform(module.bias, -0.2, 0.2)
    model.train()(images)
    for norm in norms:
        sign = torch.randint(0, 2, norm.running_mean.shape, generator=generator)
        norm.running_mean += 0.1 * norm.running_var.sqrt() * (2 * sign - 1)
        factor = torch.empty_like(norm.running_var)
        uniform(factor, 0.8, 1.25)
        norm.running_var *= factor
        norm.momentum = 0.1
    return model.eval()


@torch.no_grad()
def outputs(model, images, family):
    """Returns the features of every stage and the logits, as Keras has them."""
    found = {}

    def keep(name):
        def hook(module, inputs, output):
            output = getattr(output, "last_hidden_state", output)
            found[name] = output.permute(0, 2, 3, 1).contiguous().numpy()

        return hook

    stages = [
        (name, module)
        for name, module in model.named_modules()
        if re.fullmatch(_STAGES[family], name)
    ]
    handles = [
        module.register_forward_hook(keep(f"stage{number}"))
        for number, (_, module) in enumerate(stages, 1)
    ]
    logits = model(images)
    for handle in handles:
        handle.remove()
    return {**found, "logits": getattr(logits, "logits", logits).numpy()}


def state_dict(model, family):
    """Returns the tensors under the family's names."""
    rename = _KEYS.get(family, str)
    return {rename(key): v for key, v in model.state_dict().items()}


def wrapped(state, family):
    """Returns what the family's project pickles."""
    if family == "pycls":
        return {"epoch": 99, "model_state": state}
    if family == "classy":
        heads = {k: v for k, v in state.items() if k.startswith("0.")}
        trunk = {k: v for k, v in state.items() if k not in heads}
        parts = {"trunk": trunk, "heads": heads}
        return {"classy_state_dict": {"base_model": {"model": parts}}}
    return state


def save(state, path, family):
    """Writes a checkpoint; the suffix says in which format."""
    if path.suffix == ".safetensors":
        state = {k: v.contiguous() for k, v in state.items()}
        safetensors.torch.save_file(state, path)
    else:
        torch.save(wrapped(state, family), path)


def answer(request):
    """Writes a network's weights and what it computes.

    Args:
      request: "family", "classes", "sizes" of the images (the statistics are
        those of the first), "seed", "weights" and "outputs" (paths to write);
        and "arch", or what the family's function above asks for.
    """
    family = request["family"]
    model = NETWORKS[family](request)
    results = {}
    for size in request["sizes"]:
        images = normalised(oracle_weights.photos(size), family)
        if not results:
            condition(model, images, request.get("seed", 0))
        for name, value in outputs(model, images, family).items():
            results[f"{size}/{name}"] = value
    np.savez(request["outputs"], **results)
    state = state_dict(model, family)
    save(state, pathlib.Path(request["weights"]), family)


def versions():
    """Returns what runs here."""
    import timm
    import torchvision
    import transformers

    modules = (torch, torchvision, timm, transformers)
    return {module.__name__: module.__version__ for module in modules}
