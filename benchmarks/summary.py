"""What a record of `benchmarks/models.py` says: a summary and a table."""

import statistics


def spread(values: list[float]) -> dict[str, float]:
    """Returns median, min and max."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def _format_spread(spread: dict[str, float]) -> str:
    return "{median:.2f} ({min:.2f} to {max:.2f})".format(**spread)


def table(records: list[dict]) -> list[str]:
    """Returns the lines of a Markdown table of all cases."""
    lines = [
        "| network | pass | case | images/s | of the matrix product "
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


def notes(record: dict, ours_name: str, rounds_of_all: int) -> list[str]:
    """Returns the lines that explain one setting's part of the table.

    Args:
        record: Of one setting.
        ours_name: The case that the others are compared with.
        rounds_of_all: Rounds of a case that took part in all.

    Returns:
        Lines without line ends.
    """
    results = record["contestants"]
    ours = results[ours_name]
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
        if rounds < rounds_of_all:
            lines.append(
                f"  Fewer rounds: {name}, {rounds} of one step each "
                "(--stock_rounds)."
            )
    return lines + [f"  Left out: {absent}." for absent in record["left_out"]]
