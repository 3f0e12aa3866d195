"""One table of the colours of classes, for pictures, the report and the files of a served model.

The colours are those of Okabe and Ito, 2008, https://jfly.uni-koeln.de/color, which people who see few colours tell
apart too. Nothing else in unetlab chooses a colour for a class.
"""

import numpy as np

OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Orange, sky blue, green, yellow, blue, vermilion, purple; the eighth of theirs is black, which is background."""

DARKER, LIGHTER = 0.6, 0.5
"""From the eighth class on the colours come again: so much darker, then so much of the way to white, and so on."""


def colours(k: int) -> np.ndarray:
    """Colours of background and k classes by index, uint8 (k + 1, 3); background is black.

    The first seven are told apart by everyone. Further ones are shades of these: all are different up to 64 classes,
    but who wants to tell so many apart goes by their names.
    """
    first = np.array(OKABE_ITO, np.float64)
    found = [np.zeros(3)]
    for index in range(k):
        turn, place = divmod(index, len(first))
        half = (turn + 1) // 2
        shade = first[place]
        if turn % 2:
            shade = shade * DARKER**half
        elif turn:
            shade = shade + (255 - shade) * (1 - LIGHTER**half)
        found.append(shade)
    return np.rint(np.stack(found)).astype(np.uint8)
