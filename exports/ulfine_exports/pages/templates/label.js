"use strict";
const $ = (id) => document.getElementById(id);
const AT_ONCE = 20;
const AHEAD = 3;

let state = null; // what stands around the pictures
let items = []; // rows of the queue, as far as they have been asked for
let at = 0; // which of them is shown
let next = 0; // where the queue goes on, null at its end
let asked = { queue: "", about: "" };
let grid = false;
let busy = false;
let newName = ""; // a new class that was typed once and waits for a second Enter

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("ulfine label does not answer: is it still running? Nothing that was shown as decided is lost.");
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

// One thing at a time: a key that is pressed while a decision is on its way to the disk does nothing.
async function doing(work) {
  if (busy) return;
  busy = true;
  document.body.dataset.busy = "1";
  try {
    say("");
    await work();
  } catch (error) {
    say(error.message);
  } finally {
    busy = false;
    delete document.body.dataset.busy;
  }
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const counted = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

function showProgress(figures) {
  Object.assign(state, figures);
  const rate = state.per_hour === null ? "" : ` · ${state.per_hour.toLocaleString("en")} an hour`;
  $("progress").textContent = `${counted(state.decided_now, "decision")} now${rate} · ${counted(state.rows, "image")}, ${state.unlabelled.toLocaleString("en")} unlabelled`;
  $("undo").disabled = !state.can_undo;
}

function option(value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  return made;
}

function fill(select, options) {
  const before = select.value;
  select.replaceChildren(...options);
  if ([...select.options].some((each) => each.value === before)) select.value = before;
}

async function look() {
  state = await ask("state");
  fill($("queue"), state.queues.map((queue) => option(queue.name, queue.title)));
  const classes = [...state.classes].sort((one, other) => one.name.localeCompare(other.name));
  fill($("class"), classes.map((each) => option(each.name, `${each.name} (${each.labelled})`)));
  $("names").replaceChildren(...classes.map((each) => option(each.name, each.name)));
  $("search-label").hidden = !state.words;
  $("picture-label").hidden = !state.encoder;
  showProgress({});
  showRefit();
}

function queueOf(name) {
  return state.queues.find((queue) => queue.name === name);
}

function wanted() {
  const queue = queueOf($("queue").value);
  $("of-class").hidden = !queue.of_class;
  return { queue: queue.name, about: queue.of_class ? $("class").value : "" };
}

async function open(what) {
  asked = what;
  items = [];
  at = 0;
  next = 0;
  // What takes longer than a moment says that it is at work.
  const clock = setTimeout(() => say("Looking through the images …"), 400);
  try {
    await more();
  } finally {
    clearTimeout(clock);
  }
  say("");
  show();
}

async function more() {
  if (next === null) return;
  const parts = new URLSearchParams({ queue: asked.queue, about: asked.about, after: next });
  const found = await ask(`rows?${parts}`);
  next = found.next;
  items.push(...found.items);
}

async function ensure() {
  while (next !== null && items.length < at + (grid ? AT_ONCE : 1)) await more();
}

function ahead() {
  for (const item of items.slice(at + 1, at + 1 + AHEAD)) new Image().src = `pictures/${item.row}/large`;
}

function show() {
  const item = items[at];
  $("single").hidden = grid || !item;
  $("many").hidden = !grid || !item;
  $("end").hidden = Boolean(item);
  $("grid-button").setAttribute("aria-pressed", String(grid));
  newName = "";
  $("name-hint").textContent = "";
  if (!item) return;
  if (grid) showTiles();
  else showOne(item);
}

// The keys 1 to 5: the best answers, or the most frequent classes where no model answers.
function offered(item) {
  if (item.top.length) return item.top;
  return [...state.classes].sort((one, other) => other.labelled - one.labelled).slice(0, 5).map((each) => [each.name, null]);
}

function showOne(item) {
  $("picture").src = `pictures/${item.row}/large`;
  $("picture").alt = item.path;
  $("picture").dataset.row = item.row;
  const where = item.set ? ` · ${item.set}` : "";
  $("caption").textContent = `${item.path}${where}`;
  $("by").textContent = item.left_out ? "Answers of a model that did not learn from this picture" : "";
  $("label-now").textContent = item.label ? `Now: ${item.label}${item.decided ? " (decided)" : ""}` : item.decided ? "Decided: no class" : "Unlabelled";
  $("answers").replaceChildren(...offered(item).map(([name, share], place) => {
    const line = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    if (name === item.label) button.className = "there";
    const key = document.createElement("kbd");
    key.textContent = place + 1;
    const text = document.createElement("span");
    text.className = "name";
    text.textContent = name;
    const figure = document.createElement("span");
    figure.className = "share";
    figure.textContent = share === null ? "" : percent(share);
    button.append(key, text, figure);
    if (share !== null) {
      const track = document.createElement("span");
      track.className = "track";
      const bar = document.createElement("div");
      bar.className = "bar";
      bar.style.width = `${100 * share}%`;
      track.append(bar);
      button.append(track);
    }
    button.addEventListener("click", () => decide([items[at]], name));
    line.append(button);
    return line;
  }));
  ahead();
}

function target() {
  if (queueOf(asked.queue)?.of_class) return asked.about;
  return items[at].top.length ? items[at].top[0][0] : items[at].label || $("class").value;
}

function showTiles() {
  const shown = items.slice(at, at + AT_ONCE);
  $("ask").textContent = `Which of these ${shown.length} are of the class “${target()}”? Click what is not.`;
  $("ask").dataset.target = target();
  $("tiles").replaceChildren(...shown.map((item) => {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = "tile";
    tile.dataset.row = item.row;
    tile.setAttribute("aria-pressed", "true");
    const picture = document.createElement("img");
    picture.src = `pictures/${item.row}/small`;
    picture.alt = item.path;
    const text = document.createElement("span");
    const best = item.top.length ? `${item.top[0][0]}, ${percent(item.top[0][1])}` : "";
    text.textContent = item.label ? `now ${item.label}` : best;
    text.title = item.path;
    tile.append(picture, text);
    tile.addEventListener("click", () => tile.setAttribute("aria-pressed", String(tile.getAttribute("aria-pressed") !== "true")));
    return tile;
  }));
}

function refresh(found) {
  const byRow = new Map(found.map((item) => [item.row, item]));
  items = items.map((item) => byRow.get(item.row) ?? item);
}

function decide(of, label) {
  return doing(async () => {
    const answer = await ask("decide", { rows: of.map((item) => item.row), label });
    // On the disk: only now the next picture.
    const isNew = label !== "" && !state.classes.some((each) => each.name === answer.items[0].label);
    refresh(answer.items);
    state.unlabelled += of.reduce((sum, item) => sum + (label === "" ? 1 : 0) - (item.label === "" ? 1 : 0), 0);
    showProgress({ decided_now: answer.decided_now, per_hour: answer.per_hour, can_undo: answer.can_undo });
    at += grid ? Math.min(AT_ONCE, items.length - at) : 1;
    if (isNew) await look();
    $("name").value = "";
    if (document.activeElement === $("name")) $("name").blur();
    await ensure();
    show();
  });
}

function undo() {
  return doing(async () => {
    const answer = await ask("undo", {});
    if (!answer.items.length) return say("Nothing is left to take back.");
    refresh(answer.items);
    await look();
    showProgress({ decided_now: answer.decided_now, per_hour: answer.per_hour, can_undo: answer.can_undo });
    const place = items.findIndex((item) => item.row === answer.items[0].row);
    if (place >= 0) at = place;
    else items.splice(at, 0, ...answer.items);
    show();
    say(`Taken back: ${answer.items.length === 1 ? answer.items[0].path : counted(answer.items.length, "decision")}.`);
  });
}

function step(by) {
  return doing(async () => {
    at = Math.max(0, at + by * (grid ? AT_ONCE : 1));
    await ensure();
    at = Math.min(at, items.length);
    show();
  });
}

function confirmTiles() {
  const marked = new Set([...document.querySelectorAll('.tile[aria-pressed="true"]')].map((tile) => Number(tile.dataset.row)));
  const of = items.slice(at, at + AT_ONCE).filter((item) => marked.has(item.row));
  if (!of.length) return step(1);
  return decide(of, $("ask").dataset.target);
}

function more_like() {
  return doing(() => open({ queue: "like", about: String(items[at].row) }));
}

function typed() {
  const name = $("name").value.trim().replace(/\s+/g, " ");
  if (!name) return undefined;
  const known = state.classes.some((each) => each.name === name);
  if (!known && newName !== name) {
    newName = name;
    $("name-hint").textContent = `“${name}” is a new class: Enter again makes it.`;
    return undefined;
  }
  return decide([items[at]], name);
}

async function refit() {
  await doing(async () => {
    await ask("refit", {});
    await look();
  });
  watch();
}

let watching = false;
async function watch() {
  if (watching) return;
  watching = true;
  while (state.refit.state === "running") {
    await new Promise((wake) => setTimeout(wake, 300));
    try {
      const { refit: found } = await ask("state");
      state.refit = found;
      showRefit();
    } catch (error) {
      say(error.message);
      break;
    }
  }
  watching = false;
  if (state.refit.state !== "done") return;
  await doing(async () => {
    await look();
    await open(queueOf(asked.queue) ? wanted() : asked);
  });
}

function showRefit() {
  const { state: now, message, figures } = state.refit;
  $("refit").disabled = now === "running";
  const box = $("refitted");
  // What was closed stays closed until it says something else.
  if (now !== box.dataset.state || now === "running") box.hidden = now === "none";
  box.dataset.state = now;
  const text = box.querySelector("p");
  if (now === "running") text.textContent = `Fitting: ${message}`;
  else if (now === "failed") text.textContent = `Not fitted: ${message}`;
  else if (figures) text.textContent = refitWords(figures);
}

function refitWords(figures) {
  const parts = [`Fitted with ${counted(figures.decisions, "decided image")} in ${figures.seconds} s.`];
  const pairs = [["accuracy", "Accuracy"], ["macro_accuracy", "mean over classes"]].filter(([key]) => figures[key]);
  const shares = pairs.map(([key, name]) => {
    const before = figures[key].before === null ? "" : `${percent(figures[key].before)} before, `;
    return `${name} ${before}${percent(figures[key].after)} now`;
  });
  if (shares.length) parts.push(`${shares.join("; ")} (${figures.rows.toLocaleString("en")} ${figures.judged}).`);
  else parts.push("No test rows: how good it is was not measured.");
  if (figures.changed !== null) parts.push(`${counted(figures.changed, "answer")} of ${figures.answers.toLocaleString("en")} changed, ${figures.changed_unlabelled.toLocaleString("en")} of unlabelled images.`);
  parts.push(`Run: ${figures.run}`);
  return parts.join(" ");
}

function toggleHelp() {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
}

function setGrid(on) {
  return doing(async () => {
    grid = on;
    await ensure();
    show();
  });
}

const KEYS = {
  u: undo,
  r: refit,
  g: () => setGrid(!grid),
  s: () => step(1),
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  "?": toggleHelp,
  "/": () => $("search").focus(),
};
const ONE = {
  x: () => decide([items[at]], ""),
  m: more_like,
  n: () => $("name").focus(),
  Enter: () => (items[at].label ? decide([items[at]], items[at].label) : say("It has no label yet: choose one.")),
};
const MANY = {
  Enter: confirmTiles,
  a: () => {
    const tiles = [...document.querySelectorAll(".tile")];
    const on = tiles.some((tile) => tile.getAttribute("aria-pressed") === "false");
    for (const tile of tiles) tile.setAttribute("aria-pressed", String(on));
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const field = event.target.closest("input, select, textarea");
  if (field) {
    if (event.key === "Escape") field.blur();
    return;
  }
  // Enter on a button that has the focus presses it, apart from the tiles, which the space bar marks.
  if (event.key === "Enter" && event.target.closest("button:not(.tile)")) return;
  let action = KEYS[event.key];
  if (items[at]) {
    action ??= (grid ? MANY : ONE)[event.key];
    if (!grid && /^[1-5]$/.test(event.key)) {
      const chosen = offered(items[at])[Number(event.key) - 1];
      if (chosen) action = () => decide([items[at]], chosen[0]);
    }
  }
  if (!action) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) action();
});
$("undo").addEventListener("click", undo);
$("refit").addEventListener("click", refit);
$("grid-button").addEventListener("click", () => setGrid(!grid));
$("help-button").addEventListener("click", toggleHelp);
$("none").addEventListener("click", () => decide([items[at]], ""));
$("skip").addEventListener("click", () => step(1));
$("pass").addEventListener("click", () => step(1));
$("like").addEventListener("click", more_like);
$("confirm").addEventListener("click", confirmTiles);
for (const id of ["queue", "class"]) {
  $(id).addEventListener("change", () => {
    $(id).blur();
    doing(() => open(wanted()));
  });
}
$("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = $("search").value.trim();
  if (!words) return;
  $("search").blur();
  doing(() => open({ queue: "words", about: words }));
});
$("file").addEventListener("change", () => doing(async () => {
  const [file] = $("file").files;
  if (!file) return;
  $("file").blur();
  const answer = await fetch("like", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
  const content = await answer.json();
  $("file").value = "";
  if (!answer.ok) throw new Error(content.error);
  await open({ queue: "picture", about: content.about });
}));
$("refitted").querySelector("button").addEventListener("click", () => {
  $("refitted").hidden = true;
});
$("other").addEventListener("submit", (event) => {
  event.preventDefault();
  typed();
});

doing(async () => {
  await look();
  await open(wanted());
  if (state.refit.state === "running") watch();
});
