"""A labelling process on a cluster: cluster_driver.py STORE N SECONDS TOY TIMEOUT_S SETTINGS_AS_JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from label_toys import configurations_of, copper, marked

from phonograph.errors import UserError
from phonograph.execution.cluster import ParslExecutor
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.files.labels import save_labels
from phonograph.labels import AseLabeller, label

STARTED = time.monotonic()


def main(store: str, n: str, seconds: str, toy: str, timeout_s: str, settings: str) -> int:
    os.environ["LABEL_TOY_SECONDS"] = seconds
    plain = {name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(settings).items()}
    crystals = list(copper(int(n)).crystals())
    if toy != "Toy":
        crystals[21] = marked(crystals[21])
    labeller = AseLabeller(factory=f"label_toys:{toy}", name="toy", version="1")
    try:
        executor = None
        if plain:
            executor = ParslExecutor(settings=ClusterSettings(**plain), say=lambda line: tell(f"SAID {line}"))
        labels = label(
            [configurations_of(crystals)],
            [labeller],
            store,
            timeout_s=float(timeout_s),
            executor=executor,
            progress=lambda what, done, total: tell(f"{what} {done} {total}"),
        )
    except UserError as error:
        tell(f"SENTENCE {error}")
        return 2
    save_labels(labels, Path(store).with_suffix(".csv"))
    return 0


def tell(line: str) -> None:
    sys.stdout.write(f"{time.monotonic() - STARTED:.1f} {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
