"""Runs the benchmarks in turn, each in a process of its own: ``python -m benchmarks [NAME …]``."""

import argparse
import subprocess
import sys

BENCHMARKS = {
    "decode": "decoders of photos",
    "encode": "encoders of crops",
    "edges": "soft edges of cut-outs beside hard ones, on composites of known alpha",
    "contour": "masks to SVG paths and back, beside OpenCV",
    "dedup": "dedup beside supervision and sahi",
    "tiled": "large photos in tiles, beside sahi's sliced prediction",
    "deal": "one 12 MP photo to promoted crops, beside the floor and the obvious way",
    "hq_sam": "refinement of 30 masks at 12 MP, beside the full canvas; on a GPU both models",
    "service": "200 images against the service with a model of 50 ms",
    "local": "SAM 3 in process beside transformers alone",
    "scenes": "the default segmenter on scenes with exact truth, beside release 0.1",
    "studio_canvas": "drawing on a 12 MP photo in a browser, beside a bare page and Konva",
    "studio_review": "200 items decided by keyboard in a browser, and a mask of 3 MP painted",
    "studio_list": "the studio's list of 10,000 deals, beside the listing of their names",
    "sensor": "a look of the sensor at 100,000 deals",
    "scale": "100,000 deals on PostgreSQL: recorded, planned, backfilled, looked at, queued",
    "backfill": "200 deals by the real daemon, beside plain functions",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:14}{subject}" for name, subject in BENCHMARKS.items()),
    )
    parser.add_argument("name", nargs="*", help="all of them when none is named")
    names = parser.parse_args().name or list(BENCHMARKS)
    if unknown := set(names).difference(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    failed = 0
    for name in names:
        print(f"\n{name}: {BENCHMARKS[name]}\n", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
            != 0
        )
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
