"""Results of the programs that were before the harness, in its form.

Each wrote a form of its own. Where only a median was kept, it stands as a
single round.
"""

from typing import Any

from benchmarks.harness import spec

_FORWARD_PASSES = {"training": 3, "inference": 1}
_OURS = "keras_regnet"


def upgraded(record: Any) -> dict[str, Any] | None:
    """Returns a result in today's form; None if it is not a result."""
    if not isinstance(record, dict):
        return None
    if "suite" in record:
        return record
    for key, upgrade in (
        ("contestants", _of_models),
        ("networks", _of_mobile),
        ("images_per_second_per_core", _of_input_pipeline),
        ("spaces", _of_sampling),
        ("regime", _of_trials),
        ("milliseconds_per_step", _of_trainer),
    ):
        if key in record or (key == "contestants" and "settings" in record):
            return upgrade(record)
    return None


def _result(suite, record, settings, machine=None):
    machine = machine or {
        key: record[key]
        for key in ("cpu", "instructions", "threads", "setting", "versions")
        if key in record
    }
    rounds = max(
        len(case["rounds"])
        for setting in settings
        for case in setting["cases"].values()
    )
    return {
        "suite": suite,
        "command": record.get("command", ""),
        "rounds": record.get("rounds", rounds),
        "machine": machine,
        "settings": settings,
    }


def _setting(labels, cases, reference=_OURS):
    return {"labels": labels, "reference": reference, "cases": cases}


def _case(seconds, **facts):
    return {
        "environment": "",
        "versions": {},
        "facts": facts,
        "rounds": [{"seconds": value} for value in seconds],
    }


def _of_models(record):
    header = dict(record["header"])
    command = header.pop("command")
    settings = [_model_setting(setting) for setting in record["settings"]]
    suite = settings[0]["labels"]["pass"]
    return _result(suite, {"command": command}, settings, header)


def _model_setting(setting):
    batch, task = setting["batch_size"], setting["task"]
    labels = {"network": setting["network"], "pass": task, "batch": batch}
    passes = _FORWARD_PASSES[task] * batch * 1e9
    cases = {
        name: _case(
            case["seconds_per_step"],
            images=batch,
            multiply_adds=case["gmac_per_image"] * passes,
        )
        for name, case in setting["contestants"].items()
    }
    for reason in setting.get("left_out", ()):
        name, _, why = reason.partition(": ")
        cases[name] = {**_case([]), "absent": why}
    product = max(setting["product_gmac_per_s"].values())
    cases[spec.MACHINE] = _machine(product)
    return _setting(labels, cases)


def _machine(gmac_per_s):
    rounds = [{"product_gmac_per_s": gmac_per_s}]
    return {**_case([]), "rounds": rounds}


def _of_mobile(record):
    settings = []
    for threads, product in record["product_gmac_per_s"].items():
        cases = {
            f"{name}, {file['form']}": _case(
                [file["milliseconds"] / 1e3],
                network=name,
                form=file["form"],
                images=1,
                multiply_adds=network["flops"],
                activations=network["activations"],
                top1=network["top1"],
                bytes=file["bytes"],
            )
            for name, network in record["networks"].items()
            for file in network["files"]
            if str(file["threads"]) == threads
        }
        cases[spec.MACHINE] = _machine(product)
        labels = {"batch": 1, "threads": int(threads)}
        settings.append(_setting(labels, cases, "RegNetX-400MF, float32"))
    return _result("litert", record, settings)


def _of_input_pipeline(record):
    threads = record["threads"]
    cases = {
        name: _case([1 / rate / threads for rate in rates["rounds"]], images=1)
        for name, rates in record["images_per_second_per_core"].items()
    }
    labels = {"image_size": record["image_size"], "threads": threads}
    return _result("input", record, [_setting(labels, cases)])


def _of_sampling(record):
    settings = [
        _setting(
            {"space": space},
            {
                name: _case([1 / rates["candidates_per_s"]], images=1)
                for name, rates in cases.items()
            },
        )
        for space, cases in record["spaces"].items()
    ]
    return _result("sampler", record, settings)


def _of_trials(record):
    names = {
        "ours": _OURS,
        "torch": "PyTorch, arrays",
        "torch_loader": "PyTorch, DataLoader",
    }
    settings = []
    for row in record["rows"]:
        cases = {}
        for key, name in names.items():
            if key in row:
                cases[name] = _case([sum(row[key].values())], images=1)
                cases[name]["rounds"][0] |= row[key]
        labels = {"space": row["space"], "index": row["index"]}
        settings.append(_setting(labels, cases))
    return _result("sweep", record, settings)


def _of_trainer(record):
    names = {"model": _OURS, "trainer": "keras_regnet, trainer"}
    cases = {
        names[name]: _case(
            [value / 1e3 for value in values], images=record["batch_size"]
        )
        for name, values in record["milliseconds_per_step"].items()
    }
    labels = {
        "network": record["variant"],
        "pass": "training",
        "batch": record["batch_size"],
    }
    return _result("training", record, [_setting(labels, cases)])
