// A click on a column's head sorts a table by it, a second click the other way round; numbers sort by their first number.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  if (body.rows.length < 3) continue;
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = row => row.cells[place].textContent.trim();
      const value = row => parseFloat(text(row).replace(/,/g, "").replace("\u2212", "-"));
      const rows = [...body.rows], counted = rows.every(row => text(row) === "" || !Number.isNaN(value(row)));
      rows.sort((a, b) => (up ? 1 : -1) * (counted ? (value(a) || 0) - (value(b) || 0) : text(a).localeCompare(text(b))));
      body.append(...rows);
    });
  });
}

// The contents mark the section at the top of the window; on a phone they are folded until asked for.
const contents = document.querySelector(".toc details"), wide = matchMedia("(min-width: 76rem)");
const entries = () => [...contents.querySelectorAll("li:not([hidden]) > a")];
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
contents.addEventListener("click", event => { if (event.target.matches("a")) fold(); });
fold();
let marked = null, asked = false;
function mark() {
  asked = false;
  const line = innerHeight / 4, top = link => document.querySelector(link.hash).getBoundingClientRect().top;
  const now = entries().filter(link => top(link) <= line).pop() ?? entries()[0];
  if (now === marked) return;
  marked?.removeAttribute("aria-current");
  now.setAttribute("aria-current", "true");
  marked = now;
  const box = wide.matches ? contents.parentElement : contents.lastElementChild;
  box.scrollTop = now.offsetTop - box.clientHeight / 2;
}
addEventListener("scroll", () => { if (!asked) { asked = true; requestAnimationFrame(mark); } }, { passive: true });

const saved = document.getElementById("numbers-to-move"), part = id => document.getElementById(id);
const { thresholds, lab } = saved ? JSON.parse(saved.textContent) : {};
const ends = (low, high) => low === high ? "the same in every resample" : `${low.toFixed(3)}\u2013${high.toFixed(3)}`;
const three = (value, low, high) => `${value.toFixed(3)} (${ends(low, high)})`;
if (saved) for (const hidden of [part("try"), document.querySelector(".toc li[hidden]")]) hidden.hidden = false;

// The threshold tool: every number was computed with the report; a prevalence alone multiplies the odds, by Bayes' rule.
function moveThreshold() {
  const model = thresholds[part("t-model").value], at = Number(part("t-cut").value), share = Number(part("t-share").value) / 100;
  const bayes = (even, prior) => even * prior / (even * prior + (1 - even) * (1 - prior));
  const place = step => [200 * (1 - model.specificity[step]), 200 * (1 - model.sensitivity[step])];
  part("t-size").value = `${model.files} films, ${model.groups} groups` + (model.seeds > 1 ? `, mean of ${model.seeds} splits` : "");
  part("t-cut-shown").value = (at / 100).toFixed(2);
  part("t-share-shown").value = `${Math.round(100 * share)} %`;
  part("t-cut").setAttribute("aria-valuetext", (at / 100).toFixed(2));
  part("t-share").setAttribute("aria-valuetext", `${Math.round(100 * share)} percent`);
  part("t-curve").setAttribute("points", ["200,0", ...model.specificity.map((_, step) => place(step).join()), "0,200"].join(" "));
  const [x, y] = place(at);
  part("t-dot").setAttribute("cx", x);
  part("t-dot").setAttribute("cy", y);
  for (const cell of ["tp", "fn", "fp", "tn"]) part(`t-${cell}`).textContent = Math.round(10 * model[cell][at]) / 10;
  const nobody = { ppv: model.tp[at] + model.fp[at] < 1e-6, npv: model.tn[at] + model.fn[at] < 1e-6 };
  for (const name of ["accuracy", "sensitivity", "specificity", "ppv", "npv"]) {
    const prior = { ppv: share, npv: 1 - share }[name] ?? 0.5;
    const numbers = ["", "_low", "_high"].map(end => bayes(model[name + end][at], prior));
    part(`t-${name}`).value = nobody[name] ? "nobody is called so" : three(...numbers);
  }
}
if (thresholds && part("threshold")) {
  for (const name of ["t-model", "t-cut", "t-share"]) part(name).addEventListener("input", moveThreshold);
  moveThreshold();
}

// The lab's switches: a box is open where some run made at least the ticked mistakes and that one.
function switchLab() {
  const boxes = [...part("lab").querySelectorAll("[type=checkbox]")], labels = part("lab").querySelector("[type=radio]:checked").value;
  const ticked = boxes.filter(box => box.checked).map(box => box.value), also = labels ? [labels] : [];
  const ran = Object.keys(lab.runs).map(key => key.split("+")).filter(terms => terms.includes("shuffled") === Boolean(labels));
  for (const box of boxes) box.disabled = !box.checked && !ran.some(terms => [...ticked, box.value].every(term => terms.includes(term)));
  const own = lab.runs[[...ticked, ...also].sort().join("+")], honest = lab.runs[also.join()];
  draw("yours", own);
  draw("honest", honest);
  const paper = `The paper reports ${Math.round(100 * lab.paper)} %.`;
  part("l-said").value = own ? `Accuracy ${three(...own)}; honest split with the same labels ${honest ? three(...honest) : "not run"}. ${paper}`
    : `This combination was not run alone. ${paper}`;
}
function draw(name, run) {
  part(`l-${name}`).style.display = part(`l-${name}-span`).style.display = run ? "" : "none";
  if (!run) return;
  part(`l-${name}`).setAttribute("cx", 320 * run[0]);
  part(`l-${name}-span`).setAttribute("x1", 320 * run[1]);
  part(`l-${name}-span`).setAttribute("x2", 320 * run[2]);
}
if (lab && part("lab")) {
  part("lab").addEventListener("change", switchLab);
  switchLab();
}
mark();
