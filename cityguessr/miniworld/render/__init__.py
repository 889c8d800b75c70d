"""A street and a camera to pixels: what a ray meets, and how it is lit."""
