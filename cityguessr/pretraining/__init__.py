"""The small weights that MiniWorld's systems start from: masked autoencoding, then places, on other worlds.

The paper's systems start from weights that others published: VideoMAE's from masked autoencoding and then the labels of
Kinetics, TimeSformer's from labels. Networks of the small profile's size have none, so they are made here in the same
two steps, on worlds of other seeds. They come with the package, in `weights/`.
"""
