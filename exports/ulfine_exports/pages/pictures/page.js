"use strict";
// A page on which people drop pictures: that of `ulfine serve`, and the one that `ulfine export --html` writes. The
// script that follows gives it a model and calls `open`.

const SHOWN = 5;
const THUMBNAIL = 320;
const byId = (id) => document.getElementById(id);
const status = (text) => { byId("status").textContent = text; };
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const amount = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// What was answered, in the order in which the pictures came: lines of the table.
const answers = [];
// One picture after the other, also where some are dropped while others wait.
let work = Promise.resolve();
let model;

function showClasses(list, classes) {
  for (const { name, probability } of classes.slice(0, SHOWN)) {
    const row = document.createElement("li");
    for (const part of ["label", "track", "value"]) {
      row.append(Object.assign(document.createElement("span"), { className: part }));
    }
    const bar = Object.assign(document.createElement("div"), { className: "bar" });
    bar.style.width = percent(probability).replace(" ", "");
    row.children[0].textContent = name;
    row.children[1].append(bar);
    row.children[1].setAttribute("aria-hidden", "true");
    row.children[2].textContent = percent(probability);
    list.append(row);
  }
}

// What a part of the fused logits looks at, for who has never heard of logits.
const LOOKS_AT = {
  text: "how well the picture fits the name of the class in words",
  probe: "how much it looks like the labelled pictures",
};

function showParts(section, spoke) {
  const agree = spoke.parts.every((part) => part.label === spoke.parts[0].label);
  const names = spoke.parts.map((part) => part.name).join(" and ");
  section.hidden = false;
  section.querySelector("h3").textContent =
    `The ${spoke.decided_by} logits spoke${agree ? `; ${names} agree` : ""}. Lead over the next class:`;
  const words = LOOKS_AT[spoke.decided_by];
  section.querySelector(".plain").textContent = words ? `What tipped the scales: ${words}.` : "";
  for (const part of spoke.parts) {
    const term = document.createElement("dt");
    term.textContent = part.name;
    if (LOOKS_AT[part.name]) term.title = LOOKS_AT[part.name];
    const choice = Object.assign(document.createElement("dd"), { className: "choice" });
    choice.textContent = `alone: ${part.label}`;
    const lead = document.createElement("dd");
    lead.textContent = signed(part.lead);
    section.querySelector("dl").append(term, choice, lead);
  }
}

// A small copy: hundreds of large pictures would not fit into memory.
function showPicture(image, bitmap, name) {
  image.alt = name;
  if (!bitmap) { image.remove(); return; }
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  image.src = canvas.toDataURL("image/webp", 0.85);
}

function makeCard(name, bitmap, answer) {
  const card = byId("result").content.firstElementChild.cloneNode(true);
  showPicture(card.querySelector("img"), bitmap, name || "the pasted picture");
  card.querySelector(".file").textContent = name;
  if (answer.error) {
    card.querySelector("h2").textContent = "Not classified";
    card.querySelector(".error").textContent = answer.error;
    card.querySelector(".error").hidden = false;
  } else {
    card.querySelector("h2").textContent = `${answer.label}, ${percent(answer.confidence)}`;
    if (doubtful(answer)) {
      card.classList.add("doubtful");
      card.querySelector(".doubt").hidden = false;
      if (strange(answer)) card.querySelector(".doubt").textContent = strangeness(answer);
      else if ("threshold" in answer) card.querySelector(".doubt").textContent = doubt(answer);
    }
    showClasses(card.querySelector(".classes"), answer.classes);
    if (answer.spoke) showParts(card.querySelector(".spoke"), answer.spoke);
  }
  return card;
}

// A model may say how unlike every class a picture is: above 1 it is stranger than nearly all that it learnt from.
const strange = (answer) => answer.outlier_score > 1;
const doubtful = (answer) => answer.accepted === false || strange(answer);
const strangeness = (answer) => `Unlike every class: outlier score ${answer.outlier_score.toFixed(2)}, more than 1.`;

// A model may have a threshold for each class; above 1 there is none that would do.
function doubt({ label, threshold }) {
  if (threshold > 1) return `Not sure enough: no answer ${label} of this model is.`;
  return `Not sure enough: below ${percent(threshold)}, the threshold of ${label}.`;
}

// The most doubtful come first: what could not be read, what is below the threshold, the least confident.
const certainty = (answer) => (answer.error ? -2 : answer.confidence - (doubtful(answer) ? 1 : 0));

function place(card, answer) {
  card.certainty = certainty(answer);
  const next = [...byId("results").children].find((other) => other.certainty >= card.certainty);
  byId("results").insertBefore(card, next ?? null);
}

function summarise() {
  const read = answers.filter(({ answer }) => !answer.error);
  const below = read.filter(({ answer }) => answer.accepted === false).length;
  const byClass = read.some(({ answer }) => "threshold" in answer);
  const parts = [`${amount(answers.length, "picture")}, the most doubtful first`];
  if (read.some(({ answer }) => "accepted" in answer)) parts.push(`${below} below the threshold of ${byClass ? "their class" : "this model"}`);
  if (read.some(({ answer }) => "outlier_score" in answer)) parts.push(`${read.filter(({ answer }) => strange(answer)).length} unlike every class`);
  if (read.length < answers.length) parts.push(`${answers.length - read.length} could not be read`);
  byId("summary").textContent = `${parts.join("; ")}.`;
  byId("after").hidden = !answers.length;
  byId("csv").disabled = !read.length;
}

// The table that `ulfine predict --out` writes: a name that a spreadsheet would run gets an apostrophe in front.
const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;

function cell(text) {
  const guarded = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

const figure = (value) => String(Number(value.toPrecision(7)));

function table() {
  const read = answers.filter(({ answer }) => !answer.error);
  const judged = read.some(({ answer }) => "accepted" in answer);
  const scored = read.some(({ answer }) => "outlier_score" in answer);
  const fixed = ["path", "label", "confidence", ...(judged ? ["accepted"] : []), ...(scored ? ["outlier_score"] : [])];
  const taken = new Set([...fixed, ...model.classes]);
  const columns = model.classes.map((name) => {
    let column = name;
    while (fixed.includes(column) || (column !== name && taken.has(column))) column = `class ${column}`;
    taken.add(column);
    return column;
  });
  const lines = [[...fixed, ...columns].map(cell)];
  for (const { name, answer } of read) {
    const of = new Map(answer.classes.map((entry) => [entry.name, entry.probability]));
    const accepted = judged ? [answer.accepted ? "yes" : "no"] : [];
    const score = scored ? [figure(answer.outlier_score)] : [];
    const figures = [answer.confidence, ...model.classes.map((known) => of.get(known))].map(figure);
    lines.push([cell(name), cell(answer.label), figures[0], ...accepted, ...score, ...figures.slice(1)]);
  }
  return `${lines.map((line) => line.join(",")).join("\n")}\n`;
}

function download() {
  const url = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: `${model.name}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// One by one: a broken or large picture does not spoil the others.
async function classify({ file, name }) {
  let bitmap = null;
  try {
    // The numbers as they stand in the file, upright: what Python reads.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch { /* The model says what is wrong with it. */ }
  let answer;
  try {
    answer = await model.classify(file, bitmap);
  } catch (error) {
    answer = { error: error.message };
  }
  answers.push({ name: name || "pasted", answer });
  place(makeCard(name, bitmap, answer), answer);
  bitmap?.close();
}

async function classifyEach(pictures) {
  byId("results").setAttribute("aria-busy", "true");
  for (const [index, picture] of pictures.entries()) {
    status(`Classifying ${index + 1} of ${pictures.length} …`);
    await classify(picture);
  }
  byId("results").removeAttribute("aria-busy");
  summarise();
  status(pictures.length === 1 ? "Done." : `Done: ${pictures.length} pictures.`);
}

function classifyAll(files) {
  const pictures = [...files].map((file) => (file.file ? file : { file, name: file.webkitRelativePath || file.name }));
  if (!pictures.length || byId("file").disabled) return work;
  work = work.then(() => classifyEach(pictures));
  return work;
}

// All pictures of a folder that was dropped, with its subfolders; what it holds beside them is passed over.
async function picturesIn(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    return file.type.startsWith("image/") && !file.name.startsWith(".") ? [{ file, name: entry.fullPath.slice(1) }] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) break;
    found.push(...some);
  }
  found.sort((one, other) => (one.name < other.name ? -1 : 1));
  return (await Promise.all(found.map(picturesIn))).flat();
}

async function dropped(transfer) {
  const files = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) { classifyAll(files); return; }
  const pictures = (await Promise.all(entries.map(picturesIn))).flat();
  if (!pictures.length) status("There are no pictures in this folder.");
  classifyAll(pictures);
}

// A model has about(), which tells name, classes, a line of words and, where it takes no pictures, why; and
// classify(file, bitmap), bitmap null where the browser cannot read the file.
async function open(opened) {
  const { name, classes, words, closed } = await opened.about();
  model = { ...opened, name, classes };
  document.title = `${name} · ulfine`;
  byId("name").textContent = name;
  byId("about").textContent = words;
  if (closed) {
    byId("file").disabled = true;
    byId("drop").classList.add("off");
    status(closed);
  }
}

byId("file").addEventListener("change", async (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  await classifyAll(files);
});
byId("csv").addEventListener("click", download);
addEventListener("paste", (event) => classifyAll(event.clipboardData.files));
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  addEventListener(kind, () => byId("drop").classList.remove("over"));
}
addEventListener("drop", (event) => { event.preventDefault(); dropped(event.dataTransfer); });
