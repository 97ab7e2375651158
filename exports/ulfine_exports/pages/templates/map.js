"use strict";
// The map: the point under the pointer, or the one that was tapped, is told about; a choice of class dims the others.
const map = document.getElementById("map");
if (map) {
  const points = JSON.parse(document.getElementById("points").textContent);
  const told = map.querySelector(".told");
  const choice = map.querySelector("select");
  let shown = null;
  const line = (text, name) => {
    const paragraph = document.createElement("p");
    if (name) paragraph.className = name;
    paragraph.textContent = text;
    return paragraph;
  };
  const tell = (circle) => {
    if (circle === shown) return;
    shown?.classList.remove("chosen");
    shown = circle;
    shown.classList.add("chosen");
    const point = points[Number(circle.dataset.point)];
    const parts = [];
    if (point.src) {
      const image = document.createElement("img");
      image.src = point.src;
      image.alt = "";
      parts.push(image);
    }
    if (point.is) parts.push(line(`is ${point.is}`));
    if (point.said) parts.push(line(`taken for ${point.said}`));
    parts.push(line(`${point.part}: ${point.path}`, "quiet"));
    told.replaceChildren(...parts);
  };
  for (const kind of ["pointerover", "click"]) {
    map.querySelector("svg").addEventListener(kind, (event) => {
      if (event.target.dataset.point !== undefined) tell(event.target);
    });
  }
  choice.addEventListener("change", () => {
    for (const circle of map.querySelectorAll("circle")) {
      circle.classList.toggle("dim", choice.value !== "" && circle.dataset.class !== choice.value);
    }
  });
}
