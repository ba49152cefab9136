r"""Times training and inference of whole networks against other libraries.

Contestants alternate within rounds on the same number of threads; read the
ratios. All compute logits from normalised float32 images. A training step is
forward pass, cross entropy, backward pass and SGD with Nesterov momentum.

    python benchmarks/models.py --torch_python=/path/to/python \
        --tf_keras_python=/path/to/python --output=models.json

The one interpreter needs torch, torchvision and timm, the other tensorflow
and tf_keras; contestants whose interpreter is not given are left out.
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

import keras
import numpy as np
import tensorflow as tf
from absl import app
from absl import flags

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import keras_regnet
from benchmarks import timing
from keras_regnet import layers
from keras_regnet import variants
from training import optimizer as train_optimizer

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
    "rounds", 5, "Turns of each contestant.", lower_bound=1
)
_STOCK_ROUNDS = flags.DEFINE_integer(
    "stock_rounds",
    2,
    "Turns, of one step each, of the training of Keras's own layers and of "
    "tf_keras, which takes up to a minute per step. 0 leaves it out.",
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
_PORTABLE = "keras_regnet, portable"
_STOCK = "Keras's own layers"
_TF_KERAS = "tf_keras"
_TORCH_LIBRARIES = ("torchvision", "timm")
_TORCH_LAYOUTS = ("contiguous_format", "channels_last")

# Small, so that many steps on one batch stay finite; costs the same.
_LEARNING_RATE = 1e-3
_MOMENTUM = 0.9
_CLASSES = 1000

# The machine's limit, as a contestant among the others.
_PRODUCT_SIZE = 2048
_PRODUCT_TF = "matrix product, TensorFlow"
_PRODUCT_TORCH = "matrix product, PyTorch"

# A training step counts as three forward passes.
_FORWARD_PASSES = {"training": 3, "inference": 1}

# What both other interpreters do once `make(library, ...)`, which returns a
# step without arguments, and `multiply_adds(library, net)` are defined.
_SERVE = """
reply(versions)
for action, *arguments in jobs():
    answer = None
    if action == "run":
        *what, steps = arguments
        step = make(*what)
        for _ in range(steps):
            step()
    elif action == "count":
        answer = multiply_adds(*arguments)
    elif action == "forget":
        make.cache_clear()
    reply(answer)
"""

_TORCH_PROGRAM = """
import functools, torch
torch.set_num_threads(int(sys.argv[1]))
try:
    import torchvision
except RuntimeError:
    # Its compiled operators may be missing; no RegNet needs them.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(
            name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    import torchvision
import timm

versions = {m.__name__: m.__version__ for m in (torch, torchvision, timm)}

def build(library, net):
    if library == "timm":
        return timm.create_model(net) if timm.is_model(net) else None
    known = net in torchvision.models.list_models()
    return torchvision.models.get_model(net) if known else None

@functools.cache
def make(library, *arguments):
    if library == "product":
        matrix = torch.randn(*arguments)
        return lambda: matrix @ matrix
    net, task, batch_size, size, layout, rate, momentum = arguments
    layout = getattr(torch, layout)
    net = build(library, net).to(memory_format=layout)
    images = torch.randn(batch_size, 3, size, size).to(memory_format=layout)
    if task == "inference":
        return inference(net.eval(), images)
    optimizer = torch.optim.SGD(
        net.parameters(), rate, momentum=momentum, nesterov=True
    )
    return training(net.train(), images, optimizer)

def inference(net, images):
    @torch.inference_mode()
    def step():
        net(images)
    return step

def training(net, images, optimizer):
    labels = torch.arange(len(images))
    def step():
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()
    return step

def multiply_adds(library, net, size):
    net = build(library, net)
    if net is None:
        return None
    total = 0
    def count(layer, inputs, output):
        nonlocal total
        bias = layer.bias is not None
        total += output[0].numel() * (layer.weight[0].numel() + bias)
    for layer in net.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net.eval()(torch.zeros(1, 3, size, size))
    return total
"""

_TF_KERAS_PROGRAM = """
import functools, math
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf, tf_keras
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))

versions = {"tf_keras": tf_keras.__version__,
            "tensorflow of tf_keras": tf.__version__}

def build(net, size):
    make_net = getattr(tf_keras.applications.regnet, net, None)
    return make_net and make_net(
        weights=None, include_preprocessing=False, input_shape=(size, size, 3),
        classifier_activation=None)

@functools.cache
def make(library, net, task, batch_size, size, layout, rate, momentum):
    net = build(net, size)
    images = tf.random.normal((batch_size, size, size, 3))
    if task == "inference":
        forward = tf.function(lambda images: net(images, training=False))
        return lambda: forward(images).numpy()
    optimizer = tf_keras.optimizers.SGD(rate, momentum, nesterov=True)
    optimizer.build(net.trainable_variables)
    return training(net, images, optimizer)

def training(net, images, optimizer):
    labels = tf.range(len(images))
    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = net(images, training=True)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = net.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables))
        return loss
    return lambda: step(images, labels).numpy()

def multiply_adds(library, net, size):
    net = build(net, size)
    if net is None:
        return None
    kinds = tf_keras.layers.Conv2D, tf_keras.layers.Dense
    return sum(
        math.prod(layer.output_shape[1:])
        * (math.prod(layer.kernel.shape[:-1]) + layer.use_bias)
        for layer in net.layers if isinstance(layer, kinds))
"""


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
    """The contestants of one setting, and what is known of each.

    Args:
        setting: What they do.
    """

    def __init__(self, setting: _Setting) -> None:
        self.setting = setting
        self.contestants: dict[str, timing.Contestant] = {}
        self.multiply_adds: dict[str, int] = {}
        self.facts: dict[str, dict[str, object]] = {}
        self.absent: list[str] = []

    def admits(self, name: str) -> bool:
        """Whether the flags let a contestant take part; if not, notes it."""
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
        """Adds a contestant.

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
        self.contestants[name] = timing.Contestant(run, rounds, slow)
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
        """Adds a contestant that runs in another interpreter.

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
    """Returns the step of `training/step.py`, on one device and untraced."""
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
        with layers.portable_ops():
            run, traced = _trace(model, setting)
        race.add(_PORTABLE, run, multiply_adds, trace_seconds=traced)
    if race.admits(_STOCK):
        run, traced = _trace(_with_stock_layers(model), setting)
        race.add(_STOCK, run, multiply_adds, trace_seconds=traced)


def _names(network: str) -> dict[str, str]:
    """Returns a variant's name in the other libraries, by library."""
    family, number, unit = re.fullmatch(
        r"RegNet([XY])-([\d.]+)([MG]F)", network
    ).groups()
    code = float(number) * (10 if unit == "GF" else 0.01)
    size = f"{number.removesuffix('.0')}{unit}".lower().replace(".", "_")
    return {
        "timm": f"regnet{family.lower()}_{round(code):03}",
        "torchvision": f"regnet_{family.lower()}_{size}",
        "tf_keras": f"RegNet{family}{round(code):03}",
    }


def _add_children(race: _Race, children: dict[str, timing.Child]) -> None:
    """Adds what runs in other interpreters."""
    names = _names(race.setting.network)
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
    for name, contestant in race.contestants.items():
        report(f"{setting}: warming up {name}", 0.0)
        contestant.warm_up(_TURN_SECONDS.value)
        race.facts[name]["first_call_seconds"] = contestant.first_seconds
    timing.take_turns(
        race.contestants,
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
        name: _PRODUCT_SIZE**3 / statistics.median(contestant.seconds) / 1e9
        for name, contestant in race.contestants.items()
        if name in (_PRODUCT_TF, _PRODUCT_TORCH)
    }
    results = {
        name: _result(race, name, max(products.values()))
        for name in race.contestants
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
    """Returns one contestant's results.

    Args:
        race: It is over.
        name: The contestant's.
        product: The machine's rate in GMAC/s.

    Returns:
        A JSON object; ratios above one say that we are faster.
    """
    contestant = race.contestants[name]
    ours = race.contestants[_OURS].seconds
    # A slow contestant has no turn in the later rounds.
    ratios = [
        theirs / mine
        for theirs, mine in zip(contestant.seconds, ours, strict=False)
    ]
    rate = race.setting.batch_size / statistics.median(contestant.seconds)
    gmac = race.multiply_adds[name] / 1e9
    passes = _FORWARD_PASSES[race.setting.task]
    work = race.multiply_adds[_OURS] / race.multiply_adds[name]
    return {
        "images_per_s": rate,
        "gmac_per_image": gmac,
        "share_of_product_rate": rate * gmac * passes / product,
        "ours_over_it": _spread(ratios),
        "ours_over_it_per_multiply_add": _spread([r * work for r in ratios]),
        "ours_over_it_by_round": ratios,
        "seconds_per_step": contestant.seconds,
        "steps_per_turn": contestant.steps,
        **race.facts[name],
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def _format_spread(spread: dict[str, float]) -> str:
    return "{median:.2f} ({min:.2f} to {max:.2f})".format(**spread)


def _table(records: list[dict]) -> list[str]:
    """Returns the lines of a Markdown table of all contestants."""
    lines = [
        "| network | pass | contestant | images/s | of the matrix product "
        "| ours / it | ours / it per multiply-add | rounds |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for record in records:
        for name, result in record["contestants"].items():
            cells = [
                record["network"],
                f"{record['task']}, {record['batch_size']}",
                name,
                f"{result['images_per_s']:.1f}",
                f"{result['share_of_product_rate']:.1%}",
                _format_spread(result["ours_over_it"]),
                _format_spread(result["ours_over_it_per_multiply_add"]),
                str(len(result["seconds_per_step"])),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _notes(record: dict) -> list[str]:
    """Returns the lines that explain one setting's part of the table."""
    results = record["contestants"]
    ours = results[_OURS]
    lines = [
        f"{record['network']} {record['task']}: built in "
        f"{ours['build_seconds']:.2f} s, first trace "
        f"{ours['trace_seconds']:.2f} s; matrix product "
        f"{max(record['product_gmac_per_s'].values()):.0f} GMAC/s."
    ]
    for key, ratio, unit in (
        ("fastest_pytorch", "ours_over_it", "images/s"),
        (
            "fastest_pytorch_per_multiply_add",
            "ours_over_it_per_multiply_add",
            "multiply-adds/s",
        ),
    ):
        if key in record:
            spread = _format_spread(results[record[key]][ratio])
            lines.append(
                f"  Fastest PyTorch in {unit}: {record[key]}; ours / it "
                f"{spread}."
            )
    for name, result in results.items():
        work = result["gmac_per_image"] / ours["gmac_per_image"]
        if work != 1.0:
            lines.append(
                f"  Another network: {name} has {work - 1.0:+.1%} "
                "multiply-adds per image."
            )
        rounds = len(result["seconds_per_step"])
        if rounds < _ROUNDS.value:
            lines.append(
                f"  Fewer rounds: {name}, {rounds} of one step each "
                "(--stock_rounds)."
            )
    return lines + [f"  Left out: {absent}." for absent in record["left_out"]]


def _header(children: dict[str, timing.Child]) -> dict[str, object]:
    """Returns machine, versions and command."""
    header = {
        "cpu": timing.cpu_model(),
        "threads": timing.cpu_threads(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
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
        UsageError: If a model is no RegNetX or RegNetY.
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
    for name, flag, program in (
        ("torch", _TORCH_PYTHON, _TORCH_PROGRAM),
        ("tf_keras", _TF_KERAS_PYTHON, _TF_KERAS_PROGRAM),
    ):
        if flag.value:
            child = timing.Child(
                name, flag.value, program + _SERVE, timing.cpu_threads()
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
    print("", *_table(record["settings"]), "", sep="\n")
    for setting in record["settings"]:
        print(*_notes(setting), sep="\n")
    for name in record["left_out"]:
        print(f"Left out: {name}, no interpreter given.")


if __name__ == "__main__":
    app.run(main)
