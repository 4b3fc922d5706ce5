"""The same photo and outlines on Konva, a scene graph, as its own performance tips have it."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np

KONVA = "konva@10.9.1"
WIDTH, HEIGHT = 4000, 3000
CORNERS = 120
_KONVA_PAGE = """<!doctype html><title>Konva</title><style>body{margin:0}
#konva{width:100vw;height:100vh}</style><div id="konva"></div><script src="/konva.js"></script>
<script>
const {photo, items} = %s;
const stage = new Konva.Stage({container: 'konva', width: innerWidth, height: innerHeight});
const under = new Konva.Layer({listening: false}), over = new Konva.Layer();
stage.add(under, over);
const scale = Math.min(innerWidth / %d, innerHeight / %d);
stage.scale({x: scale, y: scale});
const image = new Image();
image.onload = () => {
  under.add(new Konva.Image({image, width: %d, height: %d}));
  for (const {box: [x1, y1, x2, y2], path} of items) {
    const line = {x: x1, y: y1, scaleX: x2 - x1, scaleY: y2 - y1, data: path,
      strokeScaleEnabled: false, perfectDrawEnabled: false, shadowForStrokeEnabled: false};
    over.add(new Konva.Path({...line, stroke: 'rgba(0,0,0,.65)', strokeWidth: 3.5,
      listening: false}));
    over.add(new Konva.Path({...line, stroke: '#ffd740', strokeWidth: 1.75, dash: [6, 4]}));
  }
  document.body.dataset.drawn = 'true';
};
image.src = photo;
let last = null;
stage.container().addEventListener('pointerdown', (event) => { last = event; });
stage.container().addEventListener('pointermove', (event) => {
  if (!last) return;
  stage.position({x: stage.x() + event.clientX - last.clientX,
    y: stage.y() + event.clientY - last.clientY});
  last = event;
});
stage.container().addEventListener('pointerup', () => { last = null; });
stage.container().addEventListener('wheel', (event) => {
  const before = stage.scaleX(), after = before * Math.exp(-event.deltaY * 0.0015);
  const x = (event.clientX - stage.x()) / before, y = (event.clientY - stage.y()) / before;
  stage.scale({x: after, y: after});
  stage.position({x: event.clientX - x * after, y: event.clientY - y * after});
});
</script>"""


def konva_page(picture: str, count: int) -> str:
    """A page that pans and zooms a photo with outlines on it."""
    facts = json.dumps({"photo": picture, "items": outlines(count)})
    return _KONVA_PAGE % (facts, WIDTH, HEIGHT, WIDTH, HEIGHT)


def outlines(count: int) -> list[dict[str, object]]:
    """Bumpy blobs all over the photo, as a run gives them."""
    rng = np.random.default_rng(count)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    found = []
    for _ in range(count):
        radius = 0.42 + 0.08 * np.sin(angles * rng.integers(2, 7))
        corners = 0.5 + radius[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
        path = "M" + "L".join(f"{x:.4f},{y:.4f}" for x, y in corners) + "Z"
        side = float(rng.integers(40, 260))
        x, y = rng.uniform(0, WIDTH - side), rng.uniform(0, HEIGHT - side)
        box = [round(float(value), 1) for value in (x, y, x + side, y + side)]
        found.append({"box": box, "path": path, "score": 0.9, "label": None})
    return found


def konva_file(folder: Path) -> Path | None:
    """Konva's own build; None where there is no npm, or no network."""
    if named := os.environ.get("KONVA_JS"):
        return Path(named)
    try:
        subprocess.run(["npm", "pack", KONVA], cwd=folder, check=True, capture_output=True)
        archive = next(folder.glob("konva-*.tgz"))
        subprocess.run(["tar", "-xzf", archive.name], cwd=folder, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return folder / "package" / "konva.min.js"
