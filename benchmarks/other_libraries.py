"""Programs that build and run the networks of other libraries.

Each is a program for `timing.Child`: its interpreter has the library, ours
need not.
"""

import re

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

_TORCH = """
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

_TF_KERAS = """
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

# By the name under which the library is asked for.
PROGRAMS = {"torch": _TORCH + _SERVE, "tf_keras": _TF_KERAS + _SERVE}


def names(network: str) -> dict[str, str]:
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
