"""Long videos of one's own, compiled into the layout of CityGuessr68k (paper, section 3): cut, thinned, labelled."""
