// Tables of patients: sorted by any column, filtered by text and attribute, one metric's columns at a time.

/** Value of a cell for sorting: a number, a text, or null where it is empty. */
function sortKey(row, column, kind) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "") return null;
  return kind === "number" ? Number(text) : text;
}

function sortRows(table, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const [body, column, kind] = [table.tBodies[0], heading.cellIndex, heading.dataset.sort];
  const compare = (one, other) => (kind === "number" ? one - other : one.localeCompare(other, undefined, { numeric: true }));
  const rows = [...body.rows].map((row) => [sortKey(row, column, kind), row]);
  rows.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null); // rows without a value come last
    return descending ? compare(other, one) : compare(one, other);
  });
  body.append(...rows.map(([, row]) => row));
}

function filterRows(form, table) {
  const wanted = form.querySelector("[data-find]").value.trim().toLowerCase();
  const chosen = [...form.querySelectorAll("[data-attribute]")].filter((select) => select.value);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const matches = chosen.every((select) =>
      [...row.cells].some((cell) => cell.dataset.name === select.dataset.attribute && cell.dataset.value === select.value));
    row.hidden = !(matches && row.textContent.toLowerCase().includes(wanted));
    shown += !row.hidden;
  }
  summarise(form, table, shown);
}

/** Number of the rows that are shown, and the mean of the first score over them. */
function summarise(form, table, shown) {
  const rows = [...table.tBodies[0].rows];
  const first = [...table.tHead.rows[0].cells].find((cell) => cell.dataset.of && !cell.hidden);
  const values = rows.filter((row) => !row.hidden).map((row) => first && sortKey(row, first.cellIndex, "number"));
  const known = values.filter((value) => typeof value === "number");
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const words = known.length ? `; mean ${first.textContent.trim()} ${mean.toFixed(3)}` : "";
  form.querySelector("[data-count]").textContent = `${shown} of ${rows.length} patients${words}`;
}

function chooseMetric(form, table, name) {
  for (const cell of table.querySelectorAll("[data-of]")) cell.hidden = cell.dataset.of !== name;
  filterRows(form, table);
}

for (const form of document.querySelectorAll("[data-filter]")) {
  const table = form.nextElementSibling.querySelector("table");
  for (const button of table.tHead.querySelectorAll("button"))
    button.addEventListener("click", () => sortRows(table, button.closest("th")));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => filterRows(form, table));
  const metric = form.querySelector("[data-metric]");
  metric?.addEventListener("change", () => chooseMetric(form, table, metric.value));
  filterRows(form, table);
}
