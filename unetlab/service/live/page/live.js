// The page: what is shown, and the loop that asks for it. Two frames are under way at most, and of those that come
// meanwhile the newest goes next: nothing queues, so that latency stays what one answer takes.

import { paint, palette } from "./draw.js";
import { Stills, Stream, begin, camera, release } from "./sources.js";
import { Refusal, ask } from "./wire.js";

const AT_ONCE = 2;
const WINDOW = 2000; // milliseconds over which figures are taken
const KEPT = 5000;
const READ = 8000; // milliseconds that a refusal stays, whatever plays meanwhile

const at = (id) => document.getElementById(id);
const shown = at("shown");
const context = shown.getContext("2d");
const about = await (await fetch("about")).json();
const colours = palette(about.classes);

/** Of the last KEPT frames drawn: when each was taken and drawn, and milliseconds of its steps. */
export const samples = [];

let source = null;
let underWay = 0;
let serial = 0;
let drawn = 0; // serial of the frame that is shown
let first = 0; // serial of the source's first frame
let last = null; // the answer that is shown
let picture = null;
let dropped = 0;
let opening = 0; // how often a source was asked for; the last one is meant
let until = 0; // when the notice may go
let cut = 0.5; // the threshold that is asked for; the slider shows it to two digits

function notice(text, stays = 0) {
  until = performance.now() + stays;
  at("notice").textContent = text;
  at("notice").hidden = !text;
}

function threshold() {
  return at("own").checked || about.classes.length ? null : cut;
}

function pump() {
  while (source?.ready && underWay < AT_ONCE) send(source);
}

async function send(from) {
  const taken = performance.now();
  const number = ++serial;
  const frame = from.take();
  const sent = performance.now();
  const before = from.turn;
  let came = 0;
  let over = null;
  if (from.inTurn) from.turn = new Promise((resolve) => (over = resolve));
  underWay++;
  try {
    const answer = await ask(frame, threshold()).finally(() => {
      came = performance.now();
      return before; // of stills: one that is quicker than the one before it waits
    });
    if (answer.said.desk !== about.desk) {
      replace(null);
      notice("Live was started anew, maybe with another model; reload this page.");
    } else if (from === source && number > drawn && number >= first) {
      drawn = number;
      from.looked?.(frame, answer.said.pages ?? 1);
      show(answer, frame);
      keep(answer.said, frame, { taken, sent, came, drawn: performance.now() });
      if ((from.playing || !from.place(frame)) && performance.now() > until) notice("");
    } else if (from === source && number >= first) left();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (from === source) {
      refused(from, frame, error);
      if (error.status !== 503) from.looked?.(frame, 1);
    }
  } finally {
    over?.();
    underWay--;
    pump();
  }
}

function refused(from, frame, error) {
  if (error.status === 503) {
    left();
    setTimeout(() => from === source && from.renew(), 200);
    return;
  }
  if (error.status === 0) {
    replace(null);
  } else if (from.playing && from.place(frame)) {
    play(false);
  }
  notice(frame.name && !error.message.startsWith(frame.name) ? `${frame.name}: ${error.message}` : error.message);
}

function show(answer, frame) {
  last = answer;
  const { width, height, name } = answer.said;
  if (!picture || picture.width !== width || picture.height !== height) {
    Object.assign(shown, { width, height });
    picture = new ImageData(width, height);
    shown.style.setProperty("--shape", width / height);
  }
  at("name").textContent = name ?? frame.name ?? source.name ?? "";
  repaint();
  shown.hidden = false;
  at("hint").hidden = true;
  at("save").disabled = false;
}

function repaint() {
  if (!last) return;
  if (at("overlay").checked) paint(picture.data, last.pixels, last.plane, colours, +at("opacity").value, about.outline);
  else picture.data.set(last.pixels);
  context.putImageData(picture, 0, 0);
}

function keep(said, frame, times) {
  samples.push({ ...times, ms: said.ms });
  if (samples.length > KEPT) samples.shift();
  at("objects").textContent = said.objects.toLocaleString("en");
  at("foreground").textContent = `${(100 * said.foreground).toFixed(1)} %`;
  said.by_class?.forEach((count, k) => (at("legend").children[k].lastChild.textContent = count.toLocaleString("en")));
  const place = source.place(frame);
  at("playing").hidden = !place;
  if (place) {
    Object.assign(at("seek"), { max: place.seconds ? place.count : place.count - 1, step: place.seconds ? "any" : 1 });
    at("seek").value = place.at;
    at("place").textContent = place.seconds
      ? `${place.at.toFixed(1)} of ${place.count.toFixed(1)} s`
      : `${place.at + 1} of ${place.count}`;
  }
}

function figures() {
  const now = performance.now();
  const recent = samples.filter((each) => each.drawn > now - WINDOW);
  if (!recent.length) {
    if (source?.playing) at("rate").textContent = "0";
    return;
  }
  const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const of = (name) => middle(recent.map((each) => each.ms[name]));
  const span = recent.at(-1).drawn - recent[0].drawn;
  at("rate").textContent = recent.length > 2 ? ((1000 * (recent.length - 1)) / span).toFixed(1) : "–";
  at("latency").textContent = `${middle(recent.map((each) => each.drawn - each.taken)).toFixed(0)} ms`;
  const server = recent.map((each) => Object.values(each.ms).reduce((a, b) => a + b));
  const wire = middle(recent.map((each, k) => each.came - each.sent - server[k]));
  const ends = middle(recent.map((each) => each.sent - each.taken + each.drawn - each.came));
  at("steps").textContent =
    `Of it, ms: wait ${of("wait").toFixed(1)}, decode ${of("decode").toFixed(1)}, model ${of("model").toFixed(1)}, ` +
    `encode ${of("encode").toFixed(1)}, wire ${wire.toFixed(1)}, page ${ends.toFixed(1)}`;
}

function left() {
  at("dropped").textContent = (++dropped).toLocaleString("en");
}

function replace(next, name) {
  source?.close();
  source = next;
  if (next) next.name = name;
  first = serial + 1;
  dropped = -1;
  left();
  samples.length = 0;
  notice("");
  at("playing").hidden = true;
  at("play").textContent = "Pause";
  pump();
}

/** Shows a film, or what `getting` gives: the camera's stream. */
async function stream(address, getting, name) {
  const mine = ++opening;
  const video = at("video");
  let live = null;
  replace(null);
  try {
    live = await getting?.();
    if (mine === opening) await begin(video, { stream: live, address });
  } catch (error) {
    live?.getTracks().forEach((track) => track.stop());
    if (mine !== opening) return;
    release(video);
    notice(address ? `${name}: ${error.message}` : error.message);
    return;
  }
  if (mine === opening) replace(new Stream(video, () => +at("side").value, pump, left), name);
  else live?.getTracks().forEach((track) => track.stop());
}

function stills(each, name) {
  opening++;
  replace(new Stills(each, pump), name);
  release(at("video")); // a film or the camera may have been on its way
}

function openFiles(files) {
  if (!files.length) return;
  const film = files.find((file) => file.type.startsWith("video/"));
  if (film) {
    stream(URL.createObjectURL(film), null, film.name).then(() => {
      if (files.length > 1) notice(`Only ${film.name} is shown: a video is opened by itself.`, READ);
    });
    return;
  }
  const large = files.find((file) => file.size > about.most_bytes);
  if (large) {
    const most = about.most_bytes.toLocaleString("en");
    notice(`${large.name} has more than ${most} bytes; start live with source=FILE.`, READ);
    return;
  }
  const each = files.map((file) => ({ path: "file", query: { page: 0 }, body: file, name: file.name }));
  stills(each, "");
}

function openCamera() {
  stream("", camera, "Camera");
}

function openGiven() {
  const { kind, count, name } = about.source;
  if (kind === "camera") openCamera();
  if (kind === "film") stream("film", null, name);
  if (kind === "frames") {
    const each = Array.from({ length: count }, (_, number) => ({ path: "frame", query: { number }, body: null }));
    stills(each, name);
  }
}

function play(on) {
  source.play(on);
  at("play").textContent = on ? "Pause" : "Play";
}

function said() {
  at("opacity-said").textContent = at("opacity").value;
  at("threshold-said").textContent = cut;
  at("threshold").disabled = at("own").checked;
}

function save() {
  shown.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    const stem = (at("name").textContent || "frame").replace(/[^\w.-]+/g, "_");
    link.download = `${stem}_${new Date().toISOString().replace(/\D/g, "").slice(0, 17)}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
}

function on(id, kind, act) {
  at(id).addEventListener(kind, act);
}

on("files", "change", (event) => {
  openFiles([...event.target.files]);
  event.target.value = "";
});
on("camera", "click", openCamera);
on("given", "click", openGiven);
on("play", "click", () => {
  notice("");
  play(!source.playing);
});
on("seek", "input", (event) => {
  notice("");
  if (source.playing) play(false);
  source.seek(+event.target.value);
});
on("overlay", "change", repaint);
on("opacity", "input", () => {
  said();
  repaint();
});
for (const [id, kind] of [["own", "change"], ["threshold", "input"]]) {
  on(id, kind, () => {
    if (id === "threshold") cut = +at(id).value;
    said();
    source?.renew();
  });
}
on("side", "change", () => source?.renew());
on("save", "click", save);
on("controls", "submit", (event) => event.preventDefault());

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("stage").classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
}
document.addEventListener("drop", (event) => {
  const items = [...event.dataTransfer.items];
  if (items.some((item) => item.webkitGetAsEntry?.()?.isDirectory)) {
    notice("That is a folder; drop its images, or start live with source=FOLDER.", READ);
    return;
  }
  openFiles([...event.dataTransfer.files]);
});

function legend({ name, colour }) {
  const [item, patch, count] = ["li", "i", "b"].map((kind) => document.createElement(kind));
  patch.style.background = colour;
  item.append(patch, `${name} `, count);
  return item;
}

at("model").textContent = about.model;
at("legend").append(...about.classes.map(legend));
at("legend").hidden = !about.classes.length;
at("cut").hidden = about.classes.length > 0; // the likeliest class is taken, whatever its probability
at("own-said").textContent = about.own_threshold === "mean" ? "(each frame's mean)" : `(${about.own_threshold})`;
at("given").hidden = !about.source.kind;
at("given").textContent = about.source.name || "Given source";
if (about.threshold !== null) {
  at("own").checked = false;
  cut = about.threshold;
} else if (about.own_threshold !== "mean") {
  cut = about.own_threshold ?? cut;
}
at("threshold").value = cut;
said();
setInterval(figures, 500);
openGiven();
