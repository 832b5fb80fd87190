// Reads a QR code by camera or from a picture, and leads to the search for what it says. Where the browser reads codes itself it does
// (BarcodeDetector), else qr-decode.js. Pictures never leave this device.
const LONGEST_SIDE = 1024;
const EVERY_MS = 200;

const scanner = document.getElementById("scanner");
const status = document.getElementById("scan-status");
const video = document.getElementById("camera");
const start = document.getElementById("scan-start");
const file = document.getElementById("scan-file");
const canvas = document.createElement("canvas");
let reader;

function say(state) {
  scanner.dataset.state = state;
  status.textContent = scanner.dataset[state];
}

async function makeReader() {
  if ("BarcodeDetector" in window) {
    const formats = await BarcodeDetector.getSupportedFormats();
    const wanted = ["qr_code", "data_matrix"].filter((format) => formats.includes(format));
    if (wanted.includes("qr_code")) {
      const detector = new BarcodeDetector({ formats: wanted });
      return async () => (await detector.detect(canvas))[0]?.rawValue;
    }
  }
  const { decodeQR } = await import("./qr-decode.js");
  return async () => {
    const image = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
    try {
      return decodeQR(image);
    } catch {
      return undefined; // no code in this picture
    }
  };
}

/** Reads a code out of a picture or a frame of the camera; undefined where there is none. */
async function read(picture, width, height) {
  reader ??= await makeReader();
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(picture, 0, 0, canvas.width, canvas.height);
  return reader();
}

function lead(text) {
  location.assign(`/search?q=${encodeURIComponent(text)}`);
}

async function look(stream) {
  while (stream.active) {
    const text = video.videoWidth ? await read(video, video.videoWidth, video.videoHeight) : undefined;
    if (text) {
      for (const track of stream.getTracks()) track.stop();
      return lead(text);
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

start.addEventListener("click", async () => {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return say("refused");
  }
  video.srcObject = stream;
  video.hidden = false;
  start.hidden = true;
  await video.play();
  say("looking");
  await look(stream);
});

file.addEventListener("change", async () => {
  if (!file.files.length) return;
  say("looking");
  let text;
  try {
    const picture = await createImageBitmap(file.files[0]);
    text = await read(picture, picture.width, picture.height);
  } catch {
    text = undefined; // no picture
  }
  if (text) lead(text);
  else say("nothing");
});

start.hidden = !navigator.mediaDevices?.getUserMedia;
document.getElementById("scan-file-row").hidden = false;
say("asking");
