"use strict";

const byId = (id) => document.getElementById(id);
const status = (text) => { byId("status").textContent = text; };
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

// A server that was started with keys wants one with every request; it is kept until the tab is closed.
async function ask(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const response = await fetch(path, key ? { ...options, headers: { Authorization: `Bearer ${key}` } } : options);
  if (response.status !== 401) return response;
  const given = prompt("This server wants a key:");
  if (!given) return response;
  sessionStorage.setItem("key", given.trim());
  return ask(path, options);
}

async function describe() {
  const response = await ask("model");
  if (!response.ok) { status((await response.json()).error); return; }
  const model = await response.json();
  document.title = `${model.name} · ulfine`;
  byId("name").textContent = model.name;
  const about = [`${model.classes.length} classes`, model.method, model.encoder, model.precision, model.device];
  byId("about").textContent = about.filter(Boolean).join(" · ");
  if (model.input === "features") {
    byId("file").disabled = true;
    byId("drop").classList.add("off");
    status("This file takes features, not pictures. Export the run with --input pixels to use this page.");
  }
}

function showClasses(list, classes) {
  for (const { name, probability } of classes) {
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

function showParts(section, spoke) {
  const agree = spoke.parts.every((part) => part.label === spoke.parts[0].label);
  const names = spoke.parts.map((part) => part.name).join(" and ");
  section.hidden = false;
  section.querySelector("h3").textContent =
    `The ${spoke.decided_by} logits spoke${agree ? `; ${names} agree` : ""}. Lead over the next class:`;
  for (const part of spoke.parts) {
    const term = document.createElement("dt");
    term.textContent = part.name;
    const choice = Object.assign(document.createElement("dd"), { className: "choice" });
    choice.textContent = `alone: ${part.label}`;
    const lead = document.createElement("dd");
    lead.textContent = signed(part.lead);
    section.querySelector("dl").append(term, choice, lead);
  }
}

function show(file, answer) {
  const card = byId("result").content.firstElementChild.cloneNode(true);
  const picture = card.querySelector("img");
  picture.src = URL.createObjectURL(file);
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
  picture.addEventListener("error", () => { picture.remove(); }, { once: true });
  picture.alt = file.name || "the pasted picture";
  card.querySelector(".file").textContent = file.name;
  if (answer.error) {
    card.querySelector("h2").textContent = "Not classified";
    card.querySelector(".error").textContent = answer.error;
    card.querySelector(".error").hidden = false;
  } else {
    card.querySelector("h2").textContent = `${answer.label}, ${percent(answer.confidence)}`;
    if (answer.accepted === false) {
      card.classList.add("doubtful");
      card.querySelector(".doubt").hidden = false;
    }
    showClasses(card.querySelector(".classes"), answer.classes);
    if (answer.spoke) showParts(card.querySelector(".spoke"), answer.spoke);
  }
  byId("results").prepend(card);
}

// One request for each picture: a broken or large one does not spoil the others.
async function classify(file) {
  const form = new FormData();
  form.append("image", file, file.name || "pasted");
  try {
    const response = await ask("classify?top=5", { method: "POST", body: form });
    const answer = await response.json();
    show(file, response.ok ? answer.images[0] : answer);
  } catch {
    show(file, { error: "The server did not answer." });
  }
}

async function classifyAll(files) {
  const pictures = [...files];
  if (!pictures.length || byId("file").disabled) return;
  byId("results").setAttribute("aria-busy", "true");
  for (const [index, file] of pictures.entries()) {
    status(`Classifying ${index + 1} of ${pictures.length} …`);
    await classify(file);
  }
  byId("results").removeAttribute("aria-busy");
  status(pictures.length === 1 ? "Done." : `Done: ${pictures.length} pictures.`);
}

byId("file").addEventListener("change", async (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  await classifyAll(files);
});
addEventListener("paste", (event) => classifyAll(event.clipboardData.files));
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  addEventListener(kind, () => byId("drop").classList.remove("over"));
}
addEventListener("drop", (event) => { event.preventDefault(); classifyAll(event.dataTransfer.files); });
describe().catch(() => status("The server does not answer."));
