"""Things to move and a game: sliders in JupyterLab, and a page with a script of its own where no kernel runs.

- `products`: Eq. 5 on a tree of six cities.
- `tilt`: what self-cross attention can say with tokens of width 1.
- `scene_labels`: a clip's soft and majority scene label, and their losses.
- `guessing_game`: validation clips of a run, to guess before the model's answer is shown.
"""

from cityguessr.interactive.game import Game, guessing_game
from cityguessr.interactive.labels import SceneLabels, scene_labels
from cityguessr.interactive.products import Products, products
from cityguessr.interactive.tilt import Tilt, tilt

__all__ = ["Game", "Products", "SceneLabels", "Tilt", "guessing_game", "products", "scene_labels", "tilt"]
