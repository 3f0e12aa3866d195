// One frame to the server and its answer back.

/** What the server said in place of an answer, in words for a person. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function post(path, body) {
  try {
    return await fetch(path, { method: "POST", body, headers: { "content-type": "application/octet-stream" } });
  } catch {
    const gone = "The file has changed or is gone since it was opened; drop it again.";
    if (body instanceof Blob) await body.slice(0, 1).arrayBuffer().catch(() => Promise.reject(new Refusal(gone, 400)));
    throw new Refusal("The server does not answer; start live again and reload this page.", 0);
  }
}

/**
 * Asks for a frame's mask.
 *
 * frame: {path, query, body, pixels}; pixels, RGBA, where the page has them, else the answer brings them.
 * Gives {said, pixels, plane}: what X-Answer holds, RGBA and a byte a pixel.
 */
export async function ask(frame, threshold) {
  const query = new URLSearchParams(frame.query);
  if (threshold !== null) query.set("threshold", threshold);
  const response = await post(`${frame.path}?${query}`, frame.body);
  if (!response.ok) {
    const { message } = await response.json().catch(() => ({ message: response.statusText }));
    throw new Refusal(message, response.status);
  }
  const said = JSON.parse(response.headers.get("x-answer"));
  const bytes = await response.arrayBuffer().catch(() => {
    throw new Refusal("The answer broke off; start live again and reload this page.", 0);
  });
  const size = said.width * said.height;
  if (said.held) return { said, pixels: frame.pixels, plane: new Uint8Array(bytes) };
  return { said, pixels: new Uint8ClampedArray(bytes, 0, 4 * size), plane: new Uint8Array(bytes, 4 * size) };
}
