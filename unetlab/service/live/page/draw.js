// A frame and its plane as one picture.

/** Magenta: seen on dark fluorescence and on purple stains alike. */
const FOREGROUND = [255, 0, 200];

/** Colours by class, 0 background; `classes`: {name, colour} from 1 on, none for one foreground. */
export function palette(classes) {
  const bytes = ({ colour }) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return [[0, 0, 0], ...(classes.length ? classes.map(bytes) : [FOREGROUND])];
}

/**
 * Writes the picture into `out`, RGBA as `pixels` is.
 *
 * plane: a byte a pixel: its class, and the bit `outline` at an object's edge.
 * opacity: of the filled mask, 0 to 1; edges are drawn whole.
 */
export function paint(out, pixels, plane, colours, opacity, outline) {
  out.set(pixels);
  const kept = 1 - opacity;
  for (let k = 0; k < plane.length; k++) {
    const value = plane[k];
    if (value === 0) continue;
    const [red, green, blue] = colours[value & ~outline];
    const at = 4 * k;
    if (value & outline) {
      out[at] = red;
      out[at + 1] = green;
      out[at + 2] = blue;
    } else {
      out[at] = out[at] * kept + red * opacity;
      out[at + 1] = out[at + 1] * kept + green * opacity;
      out[at + 2] = out[at + 2] * kept + blue * opacity;
    }
  }
}
