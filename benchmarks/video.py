"""Milliseconds per frame of a video whose people are followed, by how often the detector looks.

    python benchmarks/video.py [--photos FILE...] [--model NAME]

Frames are made from still photographs that move, grow and shrink under noise (a camera in a hand);
without photographs from generated figures. Every way predicts the same frames, in turns, in one
process. The last column is the share of the people of every frame looked at that are there as well.
Results go to `benchmarks/results/video.json`, the table into `benchmarks/README.md`.
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import numpy as np

EVERY = (1, 2, 5, 10)
SIZE = (360, 480)  # height and width of the frames
MARK = "video"


def frames_of(photo, count):
    """`count` frames of a photograph, `(360, 480, 3)` uint8 RGB."""
    import cv2

    height, width = photo.shape[:2]
    frames = []
    for number in range(count):
        turn = 2 * np.pi * number / 50
        scale = min(SIZE[1] / width, SIZE[0] / height) / (0.92 + 0.08 * np.cos(turn))
        shift = SIZE[1] / 2 + 14 * np.sin(turn), SIZE[0] / 2 + 6 * np.sin(2 * turn)
        matrix = np.array(
            [[scale, 0, shift[0] - scale * width / 2], [0, scale, shift[1] - scale * height / 2]]
        )
        frame = cv2.warpAffine(
            photo, matrix, SIZE[::-1], flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
        )
        noise = np.random.default_rng(number).normal(0, 6, frame.shape)
        frames.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
    return frames


def measure(predictor, videos, repetitions):
    """Milliseconds per frame by `every`, ratios to 1, and the people of each way."""

    def run(every):
        return [
            [sum(pose.sure for pose in result) for result in predictor.track(video, every=every)]
            for video in videos
        ]

    people = {every: run(every) for every in EVERY}
    taken = common.interleaved(
        {every: lambda every=every: run(every) for every in EVERY}, repetitions, warmup=0
    )
    count = sum(len(video) for video in videos)
    rows = {}
    for every in EVERY:
        both = [
            (min(now, full), full)
            for mine, whole in zip(people[every], people[1], strict=True)
            for now, full in zip(mine, whole, strict=True)
        ]
        rows[str(every)] = {
            "milliseconds": common.spread(1000 * one / count for one in taken[every]).to_dict(3),
            "speed-up": common.ratios(taken[1], taken[every]).to_dict(3),
            "people": round(100 * sum(n for n, _ in both) / max(sum(f for _, f in both), 1), 1),
        }
    return rows


def table(model, rows, frames):
    """The rows as Markdown."""
    lines = [
        f"`{model}`, {frames} frames of {SIZE[1]}×{SIZE[0]}:\n",
        "| detector in every … frame | ms a frame | speed-up | of the people of 1 |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for every, row in rows.items():
        spread = row["milliseconds"]
        lines.append(
            f"| {every} | {spread['median']:.1f} (least {spread['least']:.1f}) "
            f"| {row['speed-up']['median']:.2f} | {row['people']:.1f} % |"
        )
    return "\n".join(lines)


def photographs(paths):
    """The given photographs, or generated figures."""
    from keras_hourglass.io.images import read_image

    if paths:
        return [read_image(path) for path in paths]
    from keras_hourglass.data.figures import synthetic_records
    from keras_hourglass.data.load import open_image

    return [open_image(name) for name in synthetic_records(num=2, seed=7, size=256).images]


def main():
    parser = common.parser(__doc__, "video")
    parser.add_argument("--photos", nargs="+", metavar="FILE", help="generated figures without")
    parser.add_argument("--model", default="hourglass_tiny_lsp", help="(hourglass_tiny_lsp)")
    parser.add_argument("--frames", type=int, default=50, help="of each photograph (50)")
    parser.add_argument("--repetitions", type=int, default=5, help="(5)")
    args, load = parser.parse_args(), os.getloadavg()[0]
    from keras_hourglass import Predictor

    videos = [frames_of(photo, args.frames) for photo in photographs(args.photos)]
    rows = measure(Predictor(args.model), videos, args.repetitions)
    page = pathlib.Path(__file__).with_name("README.md")
    text = table(args.model, rows, sum(map(len, videos)))
    if args.photos:
        changed = common.replace_between(page.read_text(encoding="utf-8"), MARK, f"\n{text}\n")
        page.write_text(changed, encoding="utf-8")
    print(text)
    common.write(args.out, {"model": args.model, "frames": args.frames, "every": rows}, load=load)


if __name__ == "__main__":
    main()
