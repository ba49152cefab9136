r"""Times training and inference of whole networks against other libraries.

Cases alternate within rounds on the same number of threads; read the
ratios. All compute logits from normalized float32 images. A training step is
forward pass, cross entropy, backward pass and SGD with Nesterov momentum.

    python benchmarks/models.py --torch_python=/path/to/python \
        --tf_keras_python=/path/to/python --output=models.json

The one interpreter needs torch, torchvision and timm, the other tensorflow
and tf_keras; cases whose interpreter is not given are left out.
"""

import contextlib
import dataclasses
import functools
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import keras
import numpy as np
import tensorflow as tf
from absl import app
from absl import flags

from benchmarks import other_libraries
from benchmarks import summary
from benchmarks import timing
from keras_regnet import export
from keras_regnet import layers
from keras_regnet import processor
from keras_regnet import variants
from training.trainer import optimizer as train_optimizer

_MODELS = flags.DEFINE_list(
    "models", ["RegNetX-400MF", "RegNetY-800MF"], "RegNetX and Y variants."
)
_PASSES = flags.DEFINE_multi_enum(
    "passes",
    ["training", "inference"],
    ["training", "inference"],
    "What to time; repeat the flag for both.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 224, "Height and width in pixels.", lower_bound=32
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 16, "Images per training step.", lower_bound=1
)
_INFERENCE_BATCH_SIZE = flags.DEFINE_integer(
    "inference_batch_size", 8, "Images per forward pass.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 5, "Turns of each case.", lower_bound=1
)
_STOCK_ROUNDS = flags.DEFINE_integer(
    "stock_rounds",
    2,
    "Turns, of one step each, of the training of Keras's own layers and of "
    "tf_keras, which needs up to a minute per step. 0 leaves it out.",
    lower_bound=0,
)
_TURN_SECONDS = flags.DEFINE_float(
    "turn_seconds", 2.0, "About how long a turn takes.", lower_bound=0.0
)
_TORCH_PYTHON = flags.DEFINE_string(
    "torch_python", None, "Interpreter with torch, torchvision and timm."
)
_TF_KERAS_PYTHON = flags.DEFINE_string(
    "tf_keras_python", None, "Interpreter with tensorflow and tf_keras."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

_OURS = "keras_regnet"
_FOLDED = "keras_regnet, batch norm folded"
_PORTABLE = "keras_regnet, portable"
_STOCK = "Keras's own layers"
_TF_KERAS = "tf_keras"
_TORCH_LIBRARIES = ("torchvision", "timm")
_TORCH_LAYOUTS = ("contiguous_format", "channels_last")

# Small, so that many steps on one batch stay finite; costs the same.
_LEARNING_RATE = 1e-3
_MOMENTUM = 0.9
_CLASSES = 1000

# The machine's limit, as a case among the others.
_PRODUCT_SIZE = 2048
_PRODUCT_TF = "matrix product, TensorFlow"
_PRODUCT_TORCH = "matrix product, PyTorch"

# A training step counts as three forward passes.
_FORWARD_PASSES = {"training": 3, "inference": 1}


@dataclasses.dataclass(frozen=True)
class _Setting:
    """What is compared at a time.

    Args:
        network: Printed name of a variant.
        task: "training" or "inference".
        batch_size: Integer.
    """

    network: str
    task: str
    batch_size: int

    def __str__(self) -> str:
        return f"{self.network} {self.task}"


class _Race:
    """The cases of one setting, and what is known of each.

    Args:
        setting: What they do.
    """

    def __init__(self, setting: _Setting) -> None:
        self.setting = setting
        self.cases: dict[str, timing.Case] = {}
        self.multiply_adds: dict[str, int] = {}
        self.facts: dict[str, dict[str, object]] = {}
        self.absent: list[str] = []

    def admits(self, name: str) -> bool:
        """Whether the flags let a case take part; if not, notes it."""
        if _STOCK_ROUNDS.value or not self._is_slow(name):
            return True
        self.absent.append(f"{name}: --stock_rounds=0")
        return False

    def add(
        self,
        name: str,
        run: Callable[[int], object],
        multiply_adds: int,
        **facts: object,
    ) -> None:
        """Adds a case.

        Args:
            name: Unique.
            run: Runs a number of steps.
            multiply_adds: Of a forward pass of one image.
            **facts: What else to write of it.
        """
        slow = self._is_slow(name)
        rounds = _ROUNDS.value
        if slow:
            rounds = min(rounds, _STOCK_ROUNDS.value)
        self.cases[name] = timing.Case(run, rounds, slow)
        self.multiply_adds[name] = multiply_adds
        self.facts[name] = facts

    def add_of_child(
        self,
        name: str,
        child: timing.Child,
        library: str,
        net: str,
        layout: str | None = None,
    ) -> None:
        """Adds a case that runs in another interpreter.

        Args:
            name: Unique.
            child: The interpreter's process.
            library: Where it takes the network from.
            net: The library's name of the network.
            layout: PyTorch's memory format.
        """
        size = _IMAGE_SIZE.value
        multiply_adds = child.call(["count", library, net, size])
        if multiply_adds is None:
            self.absent.append(f"{name}: has no {net}")
            return
        task, batch_size = self.setting.task, self.setting.batch_size
        job = ["run", library, net, task, batch_size, size, layout]
        job += [_LEARNING_RATE, _MOMENTUM]
        run = functools.partial(_run_child, child, job)
        self.add(name, run, multiply_adds)

    def _is_slow(self, name):
        return self.setting.task == "training" and name in (_STOCK, _TF_KERAS)


def _run_child(child, job, steps):
    child.call([*job, steps])


def _run_function(function, arguments, steps):
    for _ in range(steps):
        function(*arguments).numpy()


def _build_ours(network: str) -> keras.Model:
    size = _IMAGE_SIZE.value
    return keras_regnet.build(
        network,
        input_shape=(size, size, 3),
        classes=_CLASSES,
        classifier_activation=None,
        include_preprocessing=False,
    )


def _with_stock_layers(model: keras.Model) -> keras.Model:
    """Returns the network from Keras's layers instead of those they extend."""
    stock = {
        layers.GroupedConv2D: keras.layers.Conv2D,
        layers.BatchNormalization: keras.layers.BatchNormalization,
    }

    def clone(layer):
        kind = stock.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def _training_step(model: keras.Model) -> Callable:
    """Returns the training step of the trainer, on one device and untraced."""
    ours = any(isinstance(n, layers.BatchNormalization) for n in model.layers)
    sgd = train_optimizer.SGD if ours else keras.optimizers.SGD
    optimizer = sgd(_LEARNING_RATE, momentum=_MOMENTUM, nesterov=True)
    variables = model.trainable_variables
    optimizer.build(variables)

    def step(images, labels):
        values = [variable.value for variable in variables]
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, logits
            )
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, values), variables)
        return loss

    return step


def _forward(model: keras.Model) -> Callable:
    def forward(images):
        with layers.folded_norms():
            return model(images, training=False)

    return forward


def _trace(
    model: keras.Model, setting: _Setting
) -> tuple[Callable[[int], None], float]:
    """Returns what runs a number of steps, and the seconds of its trace."""
    size = _IMAGE_SIZE.value
    shape = (setting.batch_size, size, size, 3)
    images = np.random.default_rng(0).normal(size=shape)
    arguments = (tf.constant(images, "float32"),)
    step = _forward(model)
    if setting.task == "training":
        step = _training_step(model)
        arguments += (tf.range(setting.batch_size) % _CLASSES,)
    function = tf.function(step, autograph=False, jit_compile=False)
    start = time.perf_counter()
    function.get_concrete_function(*arguments)
    seconds = time.perf_counter() - start
    return functools.partial(_run_function, function, arguments), seconds


def _add_keras(race: _Race) -> None:
    """Adds our network, and the same from Keras's own layers."""
    setting = race.setting
    size = _IMAGE_SIZE.value
    start = time.perf_counter()
    model = _build_ours(setting.network)
    built = time.perf_counter() - start
    multiply_adds = keras_regnet.complexity(
        variants.get_config(setting.network), (size, size, 3), classes=_CLASSES
    ).flops
    run, traced = _trace(model, setting)
    race.add(
        _OURS, run, multiply_adds, build_seconds=built, trace_seconds=traced
    )
    if setting.task == "inference":
        run, traced = _trace(export.fold_batch_norm(model), setting)
        race.add(_FOLDED, run, multiply_adds, trace_seconds=traced)
        with layers.portable_ops():
            run, traced = _trace(model, setting)
        race.add(_PORTABLE, run, multiply_adds, trace_seconds=traced)
    if race.admits(_STOCK):
        run, traced = _trace(_with_stock_layers(model), setting)
        race.add(_STOCK, run, multiply_adds, trace_seconds=traced)


def _add_children(race: _Race, children: dict[str, timing.Child]) -> None:
    """Adds what runs in other interpreters."""
    names = other_libraries.names(race.setting.network)
    if "tf_keras" in children and race.admits(_TF_KERAS):
        child = children["tf_keras"]
        race.add_of_child(_TF_KERAS, child, "tf_keras", names["tf_keras"])
    if "torch" in children:
        for library in _TORCH_LIBRARIES:
            for layout in _TORCH_LAYOUTS:
                race.add_of_child(
                    f"{library}, {layout.removesuffix('_format')}",
                    children["torch"],
                    library,
                    names[library],
                    layout,
                )


def _add_products(race: _Race, children: dict[str, timing.Child]) -> None:
    """Adds matrix products: the rate that the machine has at that time."""
    size = _PRODUCT_SIZE
    matrix = tf.random.normal((size, size))
    run = functools.partial(_run_function, tf.matmul, (matrix, matrix))
    race.add(_PRODUCT_TF, run, size**3)
    if "torch" in children:
        job = ["run", "product", size, size]
        run = functools.partial(_run_child, children["torch"], job)
        race.add(_PRODUCT_TORCH, run, size**3)


def _run_race(
    setting: _Setting,
    children: dict[str, timing.Child],
    report: Callable[[str, float], None],
) -> dict[str, object]:
    """Returns the record of one setting.

    Args:
        setting: What to compare.
        children: Processes of other interpreters, by name.
        report: Called with what comes next and the seconds left, if known.

    Returns:
        A JSON object.
    """
    report(f"{setting}: building and tracing", 0.0)
    race = _Race(setting)
    _add_keras(race)
    _add_children(race, children)
    _add_products(race, children)
    for name, case in race.cases.items():
        report(f"{setting}: warming up {name}", 0.0)
        case.warm_up(_TURN_SECONDS.value)
        race.facts[name]["first_call_seconds"] = case.first_seconds
    timing.take_turns(
        race.cases,
        _ROUNDS.value,
        lambda number, left: report(
            f"{setting}: round {number + 1} of {_ROUNDS.value}", left
        ),
    )
    for child in children.values():
        child.call(["forget"])
    return _record(race)


def _record(race: _Race) -> dict[str, object]:
    """Returns the results of a race that is over, as JSON values."""
    setting = race.setting
    products = {
        name: _PRODUCT_SIZE**3 / statistics.median(case.seconds) / 1e9
        for name, case in race.cases.items()
        if name in (_PRODUCT_TF, _PRODUCT_TORCH)
    }
    results = {
        name: _result(race, name, max(products.values()))
        for name in race.cases
        if name not in products
    }
    record = {
        **dataclasses.asdict(setting),
        "image_size": _IMAGE_SIZE.value,
        "product_gmac_per_s": products,
        "contestants": results,
        "left_out": race.absent,
    }
    torch = [name for name in results if name.startswith(_TORCH_LIBRARIES)]
    for key, value in (
        ("fastest_pytorch", "images_per_s"),
        ("fastest_pytorch_per_multiply_add", "share_of_product_rate"),
    ):
        if torch:
            record[key] = max(torch, key=lambda name: results[name][value])
    return record


def _result(race: _Race, name: str, product: float) -> dict[str, object]:
    """Returns one case's results.

    Args:
        race: It is over.
        name: The case's.
        product: The machine's rate in GMAC/s.

    Returns:
        A JSON object; ratios above one say that we are faster.
    """
    case = race.cases[name]
    ours = race.cases[_OURS].seconds
    # A slow case has no turn in the later rounds.
    ratios = [
        theirs / mine for theirs, mine in zip(case.seconds, ours, strict=False)
    ]
    rate = race.setting.batch_size / statistics.median(case.seconds)
    gmac = race.multiply_adds[name] / 1e9
    passes = _FORWARD_PASSES[race.setting.task]
    work = race.multiply_adds[_OURS] / race.multiply_adds[name]
    return {
        "images_per_s": rate,
        "gmac_per_image": gmac,
        "share_of_product_rate": rate * gmac * passes / product,
        "ours_over_it": summary.spread(ratios),
        "ours_over_it_per_multiply_add": summary.spread(
            [r * work for r in ratios]
        ),
        "ours_over_it_by_round": ratios,
        "seconds_per_step": case.seconds,
        "steps_per_turn": case.steps,
        **race.facts[name],
    }


def _header(children: dict[str, timing.Child]) -> dict[str, object]:
    """Returns machine, versions and command."""
    header = {
        "cpu": timing.cpu_model(),
        "threads": timing.cpu_threads(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "setting": str(processor.setting()),
    }
    for child in children.values():
        header.update(child.greeting)
    header["keras_regnet"] = f"{keras_regnet.__version__}, {_revision()}"
    header["command"] = _command(sys.argv[1:])
    return header


def _revision() -> str:
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=os.path.dirname(os.path.abspath(__file__)),
        capture_output=True,
        text=True,
    )
    return result.stdout.strip() or "unknown revision"


def _command(arguments: list[str]) -> str:
    """Returns the command without the folders of this machine."""
    line = " ".join(["python benchmarks/models.py", *arguments])
    line = re.sub(r"(-\w+_python[= ])\S+", r"\1PYTHON", line)
    return re.sub(r"(-output[= ])\S*/", r"\1", line)


class _Progress:
    """Prints what comes next, and the time that is left.

    Args:
        tasks: "training" or "inference", of all settings in order.
    """

    def __init__(self, tasks: list[str]) -> None:
        self._tasks = tasks
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def report(self, what: str, left: float) -> None:
        """Prints a line; `left` counts the current setting's seconds."""
        line = f"[{time.strftime('%H:%M:%S')}] {what}"
        if left:
            here = time.perf_counter() - self._start + left
            later = sum(self._seconds.get(t, here) for t in self._tasks[1:])
            line += f"; about {(left + later) / 60:.1f} min left"
        print(line, flush=True)

    def end_setting(self) -> None:
        """Remembers how long the current setting took."""
        now = time.perf_counter()
        self._seconds[self._tasks.pop(0)] = now - self._start
        self._start = now


def _settings() -> list[_Setting]:
    """Returns what to compare, by the flags.

    Raises:
        UsageError: If a model is not a RegNetX or RegNetY.
    """
    batch_sizes = {
        "training": _BATCH_SIZE.value,
        "inference": _INFERENCE_BATCH_SIZE.value,
    }
    settings = []
    for model in _MODELS.value:
        try:
            network = variants.variant_name(model)
        except ValueError as error:
            raise app.UsageError(str(error)) from error
        if not network.startswith(("RegNetX", "RegNetY")):
            raise app.UsageError(
                "`models` must be RegNetX or RegNetY variants. "
                f"Received: models={model}"
            )
        settings += [
            _Setting(network, task, batch_sizes[task]) for task in _PASSES.value
        ]
    return settings


def _start_children(stack: contextlib.ExitStack) -> dict[str, timing.Child]:
    """Starts the interpreters that were given, and says which were not."""
    children = {}
    for name, flag in (
        ("torch", _TORCH_PYTHON),
        ("tf_keras", _TF_KERAS_PYTHON),
    ):
        if flag.value:
            program = other_libraries.PROGRAMS[name]
            child = timing.Child(
                name, flag.value, program, timing.cpu_threads()
            )
            children[name] = stack.enter_context(child)
        else:
            print(f"Left out: {name}, as --{flag.name} is not given.")
    return children


def _compare(stack: contextlib.ExitStack) -> dict[str, object]:
    """Returns the whole run's record."""
    settings = _settings()
    children = _start_children(stack)
    header = _header(children)
    for name, value in header.items():
        print(f"{name}: {value}")
    progress = _Progress([setting.task for setting in settings])
    records = []
    for setting in settings:
        records.append(_run_race(setting, children, progress.report))
        progress.end_setting()
        keras.backend.clear_session()
    given = {"torch": _TORCH_PYTHON.value, "tf_keras": _TF_KERAS_PYTHON.value}
    absent = [name for name, python in given.items() if not python]
    return {"header": header, "left_out": absent, "settings": records}


def main(argv: list[str]) -> None:
    """Prints progress, then a table and what there is to say about it."""
    del argv
    threads = timing.cpu_threads()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    with contextlib.ExitStack() as stack:
        try:
            record = _compare(stack)
        except timing.ChildError as error:
            sys.exit(f"Error: {error}")
    if _OUTPUT.value:
        timing.write_json(_OUTPUT.value, record)
    print("", *summary.table(record["settings"]), "", sep="\n")
    for setting in record["settings"]:
        print(*summary.notes(setting, _OURS, _ROUNDS.value), sep="\n")
    for name in record["left_out"]:
        print(f"Left out: {name}, no interpreter given.")


if __name__ == "__main__":
    app.run(main)
