"""Make `countries110m.geojson`: the world's country polygons, for maps that need no network.

The polygons are Natural Earth's 1:110m countries (public domain), as the Python package geopandas 0.14.4 carries them
(`datasets/naturalearth_lowres`, cut at the date line). Coordinates are rounded to 0.01 degrees, about 1 km.

    pip download --no-deps geopandas==0.14.4 -d /tmp
    python env/resources/make_countries.py /tmp/geopandas-0.14.4-py3-none-any.whl
"""

import argparse
import io
import json
import zipfile
from pathlib import Path

import shapefile  # pyshp, which cartopy brings

FOLDER = "geopandas/datasets/naturalearth_lowres/naturalearth_lowres"
OUT = Path(__file__).resolve().parents[2] / "cityguessr" / "figures" / "countries110m.geojson"


def ring(points: list[list[float]]) -> list[list[float]]:
    """A closed ring at 0.01 degrees without repeated points."""
    rounded = [[round(lon, 2), round(lat, 2)] for lon, lat in points]
    return [p for i, p in enumerate(rounded) if i == 0 or p != rounded[i - 1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the geopandas 0.14.4 wheel")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        parts = {ending: io.BytesIO(wheel.read(f"{FOLDER}.{ending}")) for ending in ("shp", "shx", "dbf")}
    features = []
    for item in shapefile.Reader(**parts, encoding="cp1252").iterShapeRecords():
        geometry = item.shape.__geo_interface__
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        polygons = [[r for r in map(ring, polygon) if len(r) >= 4] for polygon in polygons]
        record = item.record.as_dict()
        features.append(
            {
                "type": "Feature",
                "properties": {k: record[k] for k in ("name", "iso_a3", "continent")},
                "geometry": {"type": "MultiPolygon", "coordinates": [p for p in polygons if p]},
            }
        )
    features.sort(key=lambda f: f["properties"]["name"])
    header = {
        "type": "FeatureCollection",
        "name": "countries110m",
        "source": "Natural Earth 1:110m countries, public domain",
    }
    # A country a line: small, and a change shows in a diff as the country that changed.
    lines = ",\n".join(json.dumps(f, ensure_ascii=False, separators=(",", ":")) for f in features)
    text = json.dumps(header)[:-1] + ', "features": [\n' + lines + "\n]}\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(f"{arguments.out}: {len(features)} countries, {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
