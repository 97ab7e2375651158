"use strict";
// Tables of the class "sortable": a click on a heading sorts by that column, a second click the other way round.
// A cell's data-value is what it is sorted by, else its text; cells without a number go last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const numeric = new Intl.Collator("en", { numeric: true });
  const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") !== "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const compare = (one, other) => {
        const [a, b] = [valueOf(one, column), valueOf(other, column)];
        const [x, y] = [parseFloat(a), parseFloat(b)];
        if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
        const order = Number.isNaN(x) ? -numeric.compare(a, b) : x - y;
        return down ? -order : order;
      };
      body.append(...[...body.rows].sort(compare));
    });
  }
}
