"""Suites of files: what runs a network where it is deployed."""

from benchmarks.harness import host
from benchmarks.harness import spec
from benchmarks.suites import common

_FORMS = ("float32", "int8", "int8-merged", "int8-x86")
_TENSORFLOW = "TensorFlow, keras_regnet"

# Top-1 on ImageNet as published, at 224 px. RegNets: "Designing Network Design
# Spaces", 100 epochs, no enhancements. The others: of the weights that Keras
# offers, with their authors' own training, by https://keras.io/api/applications
# and, for MobileNetV3, by the table in keras/src/applications/mobilenet_v3.py.
TOP1 = {
    "RegNetX-200MF": 68.9,
    "RegNetX-400MF": 72.6,
    "RegNetX-600MF": 74.1,
    "RegNetX-800MF": 75.2,
    "RegNetY-200MF": 70.3,
    "RegNetY-400MF": 74.1,
    "RegNetY-600MF": 75.5,
    "RegNetY-800MF": 76.3,
    "MobileNetV2": 71.3,
    "MobileNetV3Small": 68.1,
    "MobileNetV3Large": 75.6,
    "EfficientNetB0": 77.1,
}
_CONVERSIONS = 200


def forms(network: str) -> list[str]:
    """Returns the forms of a network; only RegNets have groups to merge."""
    grouped = network.startswith("RegNet")
    return [form for form in _FORMS if grouped or form != "int8-merged"]


def _litert(options):
    networks = common.networks(options, *TOP1)
    cases = [
        _litert_case(options, network, form)
        for network in networks
        for form in forms(network)
    ]
    return [
        spec.Setting(
            {"batch": 1, "threads": threads},
            (*cases, common.machine(options)),
            cases[0].name,
            threads,
        )
        for threads in common.threads(options, 1, 2)
    ]


def _litert_case(options, network, form):
    file = {"network": network, "size": common.size(options), "batch": 1}
    facts = {"network": network, "form": form, "top1": TOP1.get(network)}
    return spec.Case(
        f"{network}, {form}",
        "litert_runtime",
        {"batch": 1, "turn_seconds": options.turn_seconds, "facts": facts},
        "litert",
        {
            "path": {**file, "form": form},
            "images": {**file, "form": "images"},
            "costs": {**file, "form": "costs"},
        },
    )


def _onnx(options):
    return [
        _onnx_setting(options, network, batch, threads)
        for network in common.networks(options, "RegNetX-400MF")
        for threads in common.threads(options, 1, 2)
        for batch in ((1,) if options.quick else (1, 8))
    ]


def _onnx_setting(options, network, batch, threads):
    file = {
        "network": network,
        "size": common.size(options),
        "batch": batch,
    }
    known = {
        entry: {**file, "form": form}
        for entry, form in (
            ("images", "images"),
            ("costs", "costs"),
            ("expected", "logits"),
        )
    }
    base = {"batch": batch, "turn_seconds": options.turn_seconds}

    def case(name, program, environment, form=None, **job):
        files = {"path": {**file, "form": form}} if form else {}
        job = {**base, **job}
        return spec.Case(name, program, job, environment, {**known, **files})

    def torch_case(name, compiled):
        net = common.library_names(network)["timm"]
        how = {"net": net, "layout": "channels_last", "compiled": compiled}
        weights = {**file, "batch": 1, "form": "weights"}
        return spec.Case(
            name,
            "torch_runtime",
            {**base, **how},
            "torch",
            {**known, "weights": weights},
        )

    cases = (
        case(
            _TENSORFLOW,
            "tensorflow_runtime",
            spec.HERE,
            network=network,
            size=file["size"],
        ),
        case(
            "TensorFlow, SavedModel",
            "tensorflow_runtime",
            spec.HERE,
            "saved_model",
        ),
        case("LiteRT", "litert_runtime", "litert", "float32"),
        case("LiteRT, int8", "litert_runtime", "litert", "int8-x86"),
        case("ONNX Runtime", "onnx_runtime", "onnxruntime", "onnx"),
        case(
            "OpenVINO", "openvino_runtime", "openvino", "onnx", precision="f32"
        ),
        case(
            "OpenVINO, its precision",
            "openvino_runtime",
            "openvino",
            "onnx",
            precision="",
        ),
        torch_case("PyTorch, eager", compiled=False),
        torch_case("PyTorch, compiled", compiled=True),
        common.machine(options),
    )
    labels = {"network": network, "batch": batch, "threads": threads}
    return spec.Setting(labels, cases, _TENSORFLOW, threads)


def _conversions(options):
    n = 2 if options.quick else _CONVERSIONS
    own, here = "in a process of its own", "in this process"
    cases = [
        spec.Case(name, "conversions", {"n": n, "own": name == own})
        for name in (own, here)
    ]
    labels = {"networks": n}
    return [spec.Setting(labels, tuple(cases), own, host.cores())]


_MS = spec.Column("seconds", "ms", "ms")

SUITES = (
    spec.Suite(
        "litert",
        "LiteRT files of small networks, float32 and int8",
        _litert,
        (_MS,),
    ),
    spec.Suite(
        "onnx",
        "one network in TensorFlow, LiteRT, ONNX Runtime, OpenVINO and PyTorch",
        _onnx,
        (_MS,),
    ),
    spec.Suite(
        "conversions",
        "many conversions to int8 LiteRT files in a row: their memory",
        _conversions,
        (
            spec.Column("seconds", "s, a network", "s"),
            spec.Column("early", "after a tenth, MB", "MB"),
            spec.Column("bytes", "after all, MB", "MB"),
        ),
        fresh=True,
        rounds=1,
    ),
)
