// The model of the page: the server that it came from.

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

let known = 0;

const server = {
  async about() {
    const response = await ask("model");
    const found = await response.json();
    if (!response.ok) throw new Error(found.error);
    known = found.classes.length;
    const told = [`${known} classes`, found.method, found.encoder, found.precision, found.device];
    return {
      name: found.name,
      classes: found.classes,
      words: told.filter(Boolean).join(" · "),
      closed: found.input === "features"
        && "This file takes features, not pictures. Export the run with --input pixels to use this page.",
    };
  },
  // One request for each picture, for all classes: the table holds them.
  async classify(file) {
    const form = new FormData();
    form.append("image", file, file.name || "pasted");
    let response;
    try {
      response = await ask(`classify?top=${Math.max(1, known)}`, { method: "POST", body: form });
    } catch {
      throw new Error("The server did not answer.");
    }
    const answer = await response.json();
    return response.ok ? answer.images[0] : answer;
  },
};

open(server).catch((error) => status(error instanceof TypeError ? "The server does not answer." : error.message));
