// What Sphinx and MyST-NB leave out for people who do not use a mouse or do not see: a level for the titles of the
// sidebar, folded cells that are called by what stands on them, and a way to reach what scrolls sideways.
const reachable = () => {
  for (const box of document.querySelectorAll("pre, .cell_output, .table-wrapper")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
};
addEventListener("DOMContentLoaded", () => {
  for (const title of document.querySelectorAll("p.caption[role=heading]")) title.ariaLevel = "2";
  for (const fold of document.querySelectorAll("summary[aria-label]")) fold.removeAttribute("aria-label");
  reachable();
});
addEventListener("load", reachable);
addEventListener("resize", reachable);
