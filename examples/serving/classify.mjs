// Classify pictures with an exported file in JavaScript: onnxruntime-web and sharp.
//
//     npm install
//     node classify.mjs model.onnx picture.jpg [more.png ...]
//
// Takes exports made with --input pixels or --input image.

import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";
import sharp from "sharp";

// onnxruntime's JavaScript does not hand out the metadata of a file. They are field 14 of the protobuf message at its
// top: pairs of a key (field 1) and a value (field 2).
function* fields(bytes) {
  let at = 0;
  const number = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < bytes.length) {
    const tag = number();
    const kind = tag & 7;
    if (kind === 2) {
      const length = number();
      yield [tag >> 3, bytes.subarray(at, at + length)];
      at += length;
    } else if (kind === 0) number();
    else at += kind === 1 ? 8 : 4;
  }
}

function readMetadata(bytes) {
  const metadata = {};
  for (const [field, entry] of fields(bytes)) {
    if (field !== 14) continue;
    const pair = Object.fromEntries(fields(entry));
    metadata[new TextDecoder().decode(pair[1])] = new TextDecoder().decode(pair[2] ?? new Uint8Array());
  }
  return metadata;
}

async function prepare(picture, metadata) {
  if (metadata.input === "image") {
    const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true });
    return new ort.Tensor("uint8", data, [1, info.height, info.width, 3]);
  }
  const { size, resize, mean, std, interpolation, resize_mode: mode } = JSON.parse(metadata.preprocess);
  const [height, width] = size;
  // Encoders of timm resize to more than they look at, and the centre is cut out.
  const [fittedHeight, fittedWidth] = resize ?? size;
  const fit = { shortest: "cover", squash: "fill", longest: "contain" }[mode];
  const kernel = { bicubic: "cubic", bilinear: "linear" }[interpolation];
  const centre = {
    left: Math.round((fittedWidth - width) / 2),
    top: Math.round((fittedHeight - height) / 2),
    width,
    height,
  };
  // Without fastShrinkOnLoad: false libjpeg shrinks large JPEGs on its own, and probabilities differ in the first digit.
  // sharp's bicubic filter is close to Pillow's, not the same: they differ in the second or third one even so.
  const resized = picture.resize(fittedWidth, fittedHeight, { fit, kernel, fastShrinkOnLoad: false });
  const pixels = await resized.extract(centre).raw().toBuffer();
  const planes = new Float32Array(3 * height * width);
  for (let place = 0; place < height * width; place++) {
    for (let channel = 0; channel < 3; channel++) {
      planes[channel * height * width + place] = (pixels[3 * place + channel] / 255 - mean[channel]) / std[channel];
    }
  }
  return new ort.Tensor("float32", planes, [1, 3, height, width]);
}

const [model, ...files] = process.argv.slice(2);
const bytes = await readFile(model);
const metadata = readMetadata(bytes);
const names = JSON.parse(metadata.class_names);
const session = await ort.InferenceSession.create(bytes);
for (const file of files) {
  const picture = sharp(file).rotate().flatten({ background: "white" }).toColourspace("srgb");
  const { probabilities } = await session.run({ [metadata.input]: await prepare(picture, metadata) });
  const best = probabilities.data.indexOf(Math.max(...probabilities.data));
  console.log(`${file}: ${names[best]} ${probabilities.data[best].toFixed(4)}`);
}
