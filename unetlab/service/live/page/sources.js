// Where frames come from. A source has:
//   ready    whether there is a frame that was not asked about yet
//   take()   that frame, as wire.js asks about it; it is the newest there is
//   renew()  the frame at hand is to be asked about again
//   place(frame)  {at, count} of that frame, or null where there is no going back
//   seek(at), playing, play(on), close()
//   inTurn   whether every frame is to be shown, in the order of `take`; else one that comes late is left out
// and calls `changed` when `ready` has become true.

/** Frames one by one: files that were dropped, or those that the server reads. */
export class Stills {
  /** each: what wire.js asks about, one a frame. */
  constructor(each, changed) {
    Object.assign(this, { each, changed, at: 0, ready: true, playing: each.length > 1, inTurn: true });
  }

  take() {
    const taken = this.each[this.at];
    this.taken = this.at;
    this.ready = this.playing && this.each.length > 1;
    if (this.ready) this.at = (this.at + 1) % this.each.length;
    if (taken.path === "file" && !taken.known) this.ready = false; // what comes next depends on its pages
    return taken;
  }

  /** A file that turns out to be a stack has a frame for each of its pages, and they are played. */
  looked(frame, pages) {
    if (frame.path !== "file" || frame.known) return;
    frame.known = true;
    const further = Array.from({ length: pages - 1 }, (_, k) => ({ ...frame, query: { page: k + 1 } }));
    const at = this.each.indexOf(frame);
    if (this.each.length === 1) this.playing = pages > 1;
    if (this.taken > at) this.taken += pages - 1;
    this.each.splice(at + 1, 0, ...further);
    if (this.playing && this.each.length > 1) this.seek((at + 1) % this.each.length);
  }

  renew() {
    const frame = this.each[this.taken];
    if (!this.playing || (frame?.path === "file" && !frame.known)) this.seek(this.taken ?? this.at);
  }

  seek(at) {
    this.at = at;
    this.ready = true;
    this.changed();
  }

  place(frame) {
    return this.each.length > 1 ? { at: this.each.indexOf(frame), count: this.each.length } : null;
  }

  play(on) {
    this.playing = on;
    if (on) this.seek(((this.taken ?? -1) + 1) % this.each.length);
    else this.ready = false;
  }

  close() {
    this.ready = false;
  }
}

/** What a <video> shows: a film, or the camera. Frames that come while others are under way are left out. */
export class Stream {
  /** longest: gives the longest side of a frame that is sent, 0 for its own; dropped: called for each left out. */
  constructor(video, longest, changed, dropped) {
    Object.assign(this, { video, longest, changed, dropped, ready: false, playing: true, open: true });
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.watch();
  }

  watch() {
    this.video.requestVideoFrameCallback(() => {
      if (!this.open) return;
      if (this.ready) this.dropped();
      this.ready = true;
      this.changed();
      this.watch();
    });
  }

  take() {
    this.ready = false;
    const { videoWidth, videoHeight } = this.video;
    const shrink = Math.min(1, (this.longest() || Infinity) / Math.max(videoWidth, videoHeight));
    const [width, height] = [videoWidth, videoHeight].map((side) => Math.max(1, Math.round(side * shrink)));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(this.video, 0, 0, width, height);
    const pixels = this.context.getImageData(0, 0, width, height).data;
    return { path: "pixels", query: { width, height }, body: pixels, pixels };
  }

  renew() {
    if (!this.video.paused) return;
    this.ready = true;
    this.changed();
  }

  place() {
    const { currentTime, duration } = this.video;
    return Number.isFinite(duration) ? { at: currentTime, count: duration, seconds: true } : null;
  }

  seek(at) {
    this.video.currentTime = at;
  }

  play(on) {
    this.playing = on;
    if (on) this.video.play();
    else this.video.pause();
  }

  close() {
    this.open = this.ready = false;
    release(this.video);
  }
}

/** Ends what the video shows, or was about to: a stream that is left in it would go before any film. */
export function release(video) {
  video.pause();
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
}

const PATIENCE = 10000; // milliseconds that a film has to show its first frame

/** Has the video show something, and waits for its first frame; throws an Error for a person. */
export function begin(video, { stream = null, address = "" }) {
  const nothing = "This video has no frame that the browser can show: it is empty, damaged or in a codec that it lacks.";
  release(video);
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    const end = (call, value) => {
      done.abort();
      clearTimeout(timer);
      call(value);
    };
    const timer = setTimeout(() => end(reject, new Error(nothing)), PATIENCE);
    const look = () => (video.videoWidth ? end(resolve) : end(reject, new Error(nothing)));
    video.addEventListener("loadeddata", look, { signal: done.signal });
    video.addEventListener("error", () => end(reject, new Error(nothing)), { signal: done.signal });
    video.loop = !stream;
    if (stream) video.srcObject = stream;
    else video.src = address;
    video.play().catch(() => {}); // "error" says why
  });
}

const CAMERA = {
  NotAllowedError: "The camera was denied. Allow it for this page in the browser's address bar, or open a file.",
  NotFoundError: "There is no camera. Connect one, or open a file.",
  NotReadableError: "The camera is taken by another program, or broken.",
};

/** The camera's stream; throws an Error for a person. */
export async function camera() {
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotFoundError");
    return await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 60 } },
      audio: false,
    });
  } catch (error) {
    throw new Error(CAMERA[error.name] ?? `The camera cannot be used (${error.name}).`);
  }
}
