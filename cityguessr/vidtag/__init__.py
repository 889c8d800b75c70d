"""VidTAG (CVPR 2026), the authors' follow-up: a coordinate for every frame, by retrieval in a gallery of coordinates.

Sections and tables that the modules here cite are those of the VidTAG paper. Where the paper, the authors' working code
and an independent implementation differ, each reading is a switch of `VidTAGConfig`.
"""
