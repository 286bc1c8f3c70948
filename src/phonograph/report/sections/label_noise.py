"""The label-noise floor under the errors of the networks."""

from __future__ import annotations

from phonograph.report.markup import Markup, fold, table, tag
from phonograph.report.sections.judged import Judged
from phonograph.report.words import number, plus_minus


def noise_table(judged: Judged) -> Markup | None:
    """Return the label noise of the target by set and cause, beside the error of the networks; None without."""
    noise = judged.material.noise
    worst = noise.worst(judged.target) if noise else None
    if noise is None or worst is None:
        return None
    factor, unit = judged.errors_in
    sentence = (
        f"Labels of the same crystal scatter by {plus_minus(factor * worst.sd, factor * worst.sd_error)} {unit} "
        f"(standard deviation, {worst.cause}, {worst.structures} structures of {worst.set_name}): no model can be "
        "expected to come below that."
    )
    found = judged.score(judged.best, judged.best)
    if found is not None and worst.sd > 0:
        sentence += f" The networks' root mean square error is {number(found.rmse / worst.sd)} times as large."
    head = ["set", "cause", f"sd ({unit})", f"mean shift ({unit})", f"rms difference ({unit})", f"largest ({unit})"]
    rows = [
        [
            *(row.set_name, row.cause, plus_minus(factor * row.sd, factor * row.sd_error)),
            *(number(factor * value) for value in (row.mean, row.rms, row.largest)),
            *(str(row.structures), str(row.copies), str(row.holes)),
        ]
        for row in noise.rows
        if row.property == judged.target
    ]
    cells = table([*head, "structures", "copies", "holes"], rows, words=2)
    return tag("div", tag("p", sentence), fold("Label noise by cause", cells))
