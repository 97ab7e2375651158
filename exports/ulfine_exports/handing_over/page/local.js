// The model of the page: the ONNX file that it holds, run by onnxruntime-web. Nothing is asked of anybody.

const MOST_PIXELS = 100_000_000;
const told = JSON.parse(byId("model").textContent);

// From base64 of gzip to bytes.
async function unpacked(parts) {
  const pieces = parts.map((part) => Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0)));
  const stream = new Blob(pieces).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A large model lies beside the page, in a script: pages from a disk may read no other file.
function weightsBeside() {
  return new Promise((resolve, reject) => {
    globalThis.ulfineWeights = ({ digest, parts }) => {
      if (digest === told.digest) resolve(parts);
      else reject(new Error(`${told.beside} is of another page: put both files of one export into one folder.`));
    };
    const script = document.createElement("script");
    script.src = encodeURIComponent(told.beside);
    script.addEventListener("error", () => {
      reject(new Error(`This page needs ${told.beside}, which must lie in the same folder.`));
    });
    document.head.append(script);
  });
}

async function load() {
  if (typeof DecompressionStream === "undefined" || typeof WebAssembly === "undefined") {
    throw new Error("This browser is too old for this page: take one from 2023 or later.");
  }
  status("Loading the model …");
  const parts = told.beside ? await weightsBeside() : [byId("weights").textContent];
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await unpacked([byId("runtime").textContent]);
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(await unpacked(parts), { executionProviders: ["wasm"] });
  for (const id of ["runtime", "weights"]) byId(id)?.remove();
  status("");
  return session;
}

// RGB of the whole picture, over white: preparing it is the file's own work.
function imageOf(bitmap) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  return new ort.Tensor("uint8", pixels, [1, height, width, 3]);
}

const loading = load();

const local = {
  about: () => ({ name: told.name, classes: told.classes, words: told.words }),
  async classify(file, bitmap) {
    if (!bitmap) throw new Error("not a picture that this browser can read: JPEG, PNG, WebP, GIF, BMP and AVIF are");
    const pixels = bitmap.width * bitmap.height;
    if (pixels > MOST_PIXELS) {
      throw new Error(`${bitmap.width} x ${bitmap.height} pixels: more than ${MOST_PIXELS / 1e6} million are not read`);
    }
    const session = await loading;
    // Lets the browser show what is there before the next second of work.
    await new Promise((resolve) => { setTimeout(resolve); });
    const image = imageOf(bitmap);
    let outputs;
    try {
      const wanted = ["probabilities", ...(told.judges ? ["accepted"] : []), ...(told.scores ? ["outlier_score"] : [])];
      outputs = await session.run({ image }, wanted);
    } catch {
      throw new Error("the memory of this page did not suffice for this picture: try it smaller");
    }
    const probabilities = [...outputs.probabilities.data];
    const classes = probabilities.map((probability, k) => ({ name: told.classes[k], probability }));
    classes.sort((one, other) => other.probability - one.probability);
    const { name: label, probability: confidence } = classes[0];
    return {
      label,
      confidence,
      classes,
      ...(told.judges && { accepted: Boolean(outputs.accepted.data[0]) }),
      ...(told.scores && { outlier_score: outputs.outlier_score.data[0] }),
      ...(told.thresholds && { threshold: told.thresholds[probabilities.indexOf(confidence)] }),
    };
  },
};

byId("hint").textContent = "They stay on this computer: the model is inside this page.";
open(local);
loading.catch((error) => {
  byId("file").disabled = true;
  byId("drop").classList.add("off");
  status(error.message);
});
