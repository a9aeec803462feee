"use strict";

const RATE_HZ = 16000; // of recordings: the rate of most models; the server resamples to that of its own
const byId = (id) => document.getElementById(id);
const sections = new Map();

// One request at a time: the words of all models as lines of JSON.
async function transcribe(blob, name) {
  const form = new FormData();
  form.append("file", blob, name);
  setBusy(true);
  showError("");
  byId("models").replaceChildren();
  sections.clear();
  const player = byId("player");
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(blob);
  player.hidden = false;
  setStatus(`${name}: sending ${(blob.size / 1e6).toFixed(2)} MB ...`);
  try {
    const response = await fetch("transcribe", { method: "POST", body: form });
    if (!response.ok) throw new Error(await reason(response));
    for await (const event of jsonLines(response.body)) show(event, name);
  } catch (error) {
    showError(error.message);
    setStatus("");
  } finally {
    setBusy(false);
  }
}

async function reason(response) {
  const text = await response.text();
  const retry = response.headers.get("Retry-After");
  try {
    const message = JSON.parse(text).error.message;
    return retry ? `${message} (${retry} s)` : message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

async function* jsonLines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
  if (rest) throw new Error("The connection ended in the middle of a line.");
}

function show(event, name) {
  if (event.type === "start") {
    event.models.forEach(addSection);
    setStatus(`${name}: ${event.seconds.toFixed(1)} s of audio, ${event.queue_s.toFixed(2)} s in the queue`);
    return;
  }
  const section = sections.get(event.model);
  if (event.type === "words") event.words.forEach((word) => section.text.append(wordElement(word), " "));
  if (event.type === "end") {
    const speed = event.seconds / event.latency_s;
    const first = event.first_words_s === null ? "no words" : `first words after ${event.first_words_s.toFixed(2)} s`;
    section.latency.textContent = `${first}, all after ${event.latency_s.toFixed(2)} s: ${speed.toFixed(1)} s of audio a second`;
    if (!event.text) section.text.append(element("i", "(no words)"));
    event.notes.forEach((note) => section.box.append(element("div", note, "note")));
    section.box.dataset.done = "true";
  }
  if (event.type === "error") section.box.append(element("div", event.message, "note"));
  if (event.type === "attention" && event.png) {
    const image = element("img");
    image.alt = `Attention of ${event.model}, a row a token, below the spectrogram of the first window`;
    image.src = `data:image/png;base64,${event.png}`;
    section.box.append(image);
  }
}

function addSection(model) {
  const box = element("section");
  const text = element("p", "", "text");
  const latency = element("p", "decoding ...", "latency");
  text.setAttribute("aria-live", "polite");
  box.append(element("h2", model), latency, text);
  byId("models").append(box);
  sections.set(model, { box, text, latency });
}

function wordElement(word) {
  const span = element("span", word.text, "word");
  const times = `${word.start_s.toFixed(2)} to ${word.end_s.toFixed(2)} s`;
  span.title = times;
  if (word.confidence !== null) {
    span.title = `${times}, confidence ${(100 * word.confidence).toFixed(0)} %`;
    span.style.opacity = 0.45 + 0.55 * word.confidence;
    if (word.confidence < 0.5) span.style.textDecoration = "underline dotted";
  }
  return span;
}

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function setStatus(text) { byId("status").textContent = text; }

function showError(text) {
  byId("error").textContent = text;
  byId("error").hidden = !text;
}

function setBusy(busy) {
  byId("file").disabled = busy;
  byId("record").disabled = busy;
  document.querySelector(".button").classList.toggle("disabled", busy);
}

// Recording: what MediaRecorder gives is decoded here and sent as WAV, so that the server needs no codec of browsers.
let recorder = null;

async function toggleRecording() {
  if (recorder) {
    recorder.stop();
    return;
  }
  showError("");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch (error) {
    showError(`The microphone cannot be used: ${error.message}. Browsers allow it on localhost and over HTTPS.`);
    return;
  }
  const parts = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = async () => {
    const type = recorder.mimeType;
    recorder = null;
    stream.getTracks().forEach((track) => track.stop());
    byId("record").textContent = "Record";
    byId("record").classList.remove("recording");
    try {
      await transcribe(await toWav(new Blob(parts, { type })), "recording.wav");
    } catch (error) {
      showError(`The recording cannot be decoded: ${error.message}`);
    }
  };
  recorder.start();
  byId("record").textContent = "Stop";
  byId("record").classList.add("recording");
  setStatus("Recording ...");
}

async function toWav(blob) {
  const context = new AudioContext();
  const decoded = await context.decodeAudioData(await blob.arrayBuffer());
  await context.close();
  const offline = new OfflineAudioContext(1, Math.max(1, Math.ceil(decoded.duration * RATE_HZ)), RATE_HZ);
  const source = offline.createBufferSource();
  source.buffer = decoded;
  source.connect(offline.destination);
  source.start();
  const samples = (await offline.startRendering()).getChannelData(0);
  return new Blob([wavBytes(samples)], { type: "audio/wav" });
}

function wavBytes(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (offset, text) => [...text].forEach((char, i) => view.setUint8(offset + i, char.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, RATE_HZ, true);
  view.setUint32(28, 2 * RATE_HZ, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, x))), true));
  return view.buffer;
}

byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) transcribe(file, file.name);
  event.target.value = "";
});
byId("record").addEventListener("click", toggleRecording);
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file && !byId("file").disabled) transcribe(file, file.name);
});
